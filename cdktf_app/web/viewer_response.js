// SPDX-License-Identifier: Apache-2.0
// A CloudFront function. Viewers use HTTPS, but Airflow receives HTTP from CloudFront: it omits `Secure` from cookies and
// redirects to http:// URLs, which CloudFront rejects. This function corrects both.
function handler(event) {
  var response = event.response;
  var cookies = response.cookies || {};
  Object.keys(cookies).forEach(function (name) {
    secure(cookies[name]);
    (cookies[name].multiValue || []).forEach(secure);
  });
  var location = response.headers.location;
  if (location) {
    var here = 'http://' + event.request.headers.host.value + '/';
    if ((location.value + '/').indexOf(here) === 0) {
      location.value = 'https' + location.value.slice(4);
    }
    // The redirect to the login page has the next URL in its query.
    var next = encodeURIComponent(here);
    location.value = location.value.split(next).join(encodeURIComponent('https' + here.slice(4)));
  }
  return response;
}

function secure(cookie) {
  var attributes = cookie.attributes || '';
  if (!/(^|;)\s*secure\s*(;|$)/i.test(attributes)) {
    cookie.attributes = attributes ? attributes + '; Secure' : 'Secure';
  }
}
