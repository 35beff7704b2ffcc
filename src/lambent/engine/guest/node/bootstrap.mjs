// Starts AWS's Node.js runtime client (index.mjs beside this file). With --wait it loads the client first and then reads
// its function from descriptor 3, as JSON: {"environment": {…}}.
import fs from "node:fs";
import { createRequire, Module } from "node:module";
import path from "node:path";
import vm from "node:vm";

const require = createRequire(import.meta.url);
const directory = path.dirname(new URL(import.meta.url).pathname);
const transport = loadTransport(path.join(directory, "rapid-client.node"));
const waits = process.argv[2] === "--wait";

// What the client asks for as its native addon is found already loaded.
function loadTransport(file) {
  const module = new Module(file);
  const run = vm.runInThisContext(Module.wrap(fs.readFileSync(file, "utf8")), { filename: file });
  run(module.exports, require, module, file, directory);
  module.loaded = true;
  require.cache[file] = module;
  return module.exports;
}

function become(start) {
  for (const name of Object.keys(process.env)) if (!(name in start.environment)) delete process.env[name];
  for (const [name, value] of Object.entries(start.environment)) process.env[name] = value;
  process.chdir(process.env.LAMBDA_TASK_ROOT);
  Module._initPaths(); // NODE_PATH
}

if (waits) {
  for (const name of ["http", "https", "crypto", "stream", "util", "zlib", "async_hooks"]) require(`node:${name}`);
  await transport.open("127.0.0.1:9001");
}
const client = await import("./index.mjs");
if (waits) {
  become(JSON.parse(fs.readFileSync(3, "utf8")));
  fs.closeSync(3);
}
process.argv.splice(1, process.argv.length, path.join(directory, "index.mjs"));
if (client.ignition) await client.ignition();
else await client.run(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
