// Runs netspec's front end in Pyodide, beside the page.
import { loadPyodide } from "pyodide";
import { info } from "pyodide/pyodide-lock.json";

// The interpreter, its library and netspec are kept compressed, whatever the server does. They are
// read from the folder of the page, and from nowhere else.
const PACKED = new Map([
  ["pyodide.asm.wasm", ["interpreter.bin", "application/wasm"]],
  ["python_stdlib.zip", ["library.bin", "application/zip"]],
]);
const load = self.fetch.bind(self);

async function unpacked(file, type) {
  const answer = await load(new URL(file, self.location.href));
  if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
  const stream = answer.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream, { headers: { "Content-Type": type } });
}

self.fetch = (request, options) => {
  const file = new URL(request.url ?? request, self.location.href).pathname.split("/").pop();
  return PACKED.has(file) ? unpacked(...PACKED.get(file)) : load(request, options);
};

// No package is installed.
const lock = { info, packages: {} };

let playground = null;
let known = null; // the question that was checked last
const waiting = { check: null, fixes: null, pane: null };
let running = false;

async function start() {
  const archive = unpacked("netspec.bin", "application/zip").then((answer) => answer.arrayBuffer());
  const python = await loadPyodide({
    indexURL: new URL(".", self.location.href).href,
    lockFileContents: lock,
    env: { HOME: "/home/pyodide", XDG_CACHE_HOME: "/netspec/cache" },
  });
  python.unpackArchive(await archive, "zip", { extractDir: "/netspec" });
  playground = python.runPython(
    "import sys; sys.path.insert(0, '/netspec')\nimport engine\nengine.Playground()",
  );
  // First checks, one of a mistake, load what every later one uses.
  for (const layer of ["conv", "cnv"]) {
    playground.check(`net N { input x: [3, 8, 8]\n output x -> ${layer}(4, 3) -> relu }`, "n.net");
  }
  playground.fixes();
  self.postMessage({ type: "ready" });
  run();
}

// Lets messages in that came in the meantime.
const breath = () => new Promise((done) => setTimeout(done));

function checked(question) {
  const { text, name, settings } = question;
  const found = JSON.parse(playground.check(text, name, settings));
  known = question;
  return found;
}

const answers = {
  check(question) {
    const before = performance.now();
    const found = checked(question);
    self.postMessage({
      type: "checked", number: question.number, version: question.version,
      took: performance.now() - before, ...found,
    });
    waiting.fixes = found.problems.length ? question : null;
  },
  fixes({ version }) {
    self.postMessage({ type: "fixes", version, problems: JSON.parse(playground.fixes()) });
  },
  pane(question) {
    const { number, version, which, net, text, settings } = question;
    if (text !== known?.text || settings !== known.settings) checked(question);
    const pane = JSON.parse(playground.pane(which, net));
    self.postMessage({ type: "pane", number, version, which, net, ...pane });
  },
};

// Answers what is waiting: of each kind the last, the kinds in their order.
async function run() {
  if (running || !playground) return;
  running = true;
  for (;;) {
    const kind = Object.keys(answers).find((each) => waiting[each]);
    if (!kind) break;
    const question = waiting[kind];
    waiting[kind] = null;
    answers[kind](question);
    await breath();
  }
  running = false;
}

const fail = (error) => self.postMessage({ type: "failed", message: String(error) });

self.onmessage = ({ data }) => {
  waiting[data.type] = data;
  run().catch(fail);
};
start().catch(fail);
