// SPDX-License-Identifier: Apache-2.0
// Loads a resource of the AWS provider's bindings when it is first used.
//
// The bindings' index requires all 2 400 modules, which takes 3 s of CPU; a stack uses about 50. This replaces each
// require of the index with a proxy that loads its module on first access. If a later version has another index, the
// conditions below do not match, and the bindings load as usual.
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
      // TypeScript reads `__esModule` of every import; this does not need to load the module.
      get: (_, name) => (name === "__esModule" ? true : module()[name]),
      has: (_, name) => name in module(),
    },
  );
};
