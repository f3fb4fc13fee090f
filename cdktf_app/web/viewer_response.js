// SPDX-License-Identifier: Apache-2.0
// A CloudFront function. Viewers speak HTTPS; behind CloudFront it is HTTP, and Airflow takes that for the truth: its
// cookies would lack `Secure`, and a redirect would lead to a name that answers in HTTPS alone. Put both right here,
// where the truth is known.
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
    // The login is told in its query where to lead to afterwards.
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
