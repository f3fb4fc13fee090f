// SPDX-License-Identifier: Apache-2.0
// Loads a resource of the AWS provider's bindings when it is first used.
//
// The bindings' index requires all of its 2 400 modules: 3 s of CPU for the 50 that a stack uses. Each require of the
// index is answered with a proxy that loads its module at the first look into it. Should the index ever be written in
// another way, nothing here applies and the bindings load as they always did.
"use strict";

const Module = require("node:module");

const INDEX = /[\\/]@cdktn[\\/]provider-aws[\\/]lib[\\/]index\.js$/;
const RESOURCE = /^\.\/[^/]+\/index$/;
const requireNow = Module.prototype.require;

Module.prototype.require = function (id) {
  if (!RESOURCE.test(id) || !INDEX.test(this.filename)) {
    return requireNow.call(this, id);
  }
  let loaded;
  const module = () => (loaded ??= requireNow.call(this, id));
  return new Proxy(
    {},
    {
      // What TypeScript asks first of a module that it imports; the answer is known.
      get: (_, name) => (name === "__esModule" ? true : module()[name]),
      has: (_, name) => name in module(),
    },
  );
};
