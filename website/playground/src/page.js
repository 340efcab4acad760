// The page: a text on one side; what netspec makes of it on the other, and its messages below.
import { indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap } from "@codemirror/view";
import { basicSetup } from "codemirror";
import { Compiler } from "./compiler.js";
import examples from "./examples.json";
import { shapeHints, showShapes } from "./hints.js";
import { colours, netspec } from "./language.js";
import { fragment, fragmentOfSettings, shared, sharedSettings } from "./share.js";

const PAUSE = 60; // milliseconds without a key before a text is checked
const find = (id) => document.getElementById(id);
const element = (tag, className, text = "") =>
  Object.assign(document.createElement(tag), { className, textContent: text });

let version = 0; // of the text and the arguments
let known = { version: -1, problems: [], hints: [], nets: [], totals: {}, arguments: {} };
let pane = "summary";
let typing;

// ------------------------------------------------------------------------------------- the text

const changed = EditorView.updateListener.of((update) => {
  if (!update.docChanged) return;
  checkSoon();
  find("file").textContent = fileName();
});
const editor = new EditorView({
  parent: find("editor"),
  state: EditorState.create({
    extensions: [
      basicSetup, keymap.of([indentWithTab]), netspec(), syntaxHighlighting(colours), lintGutter(),
      shapeHints, changed, EditorView.contentAttributes.of({ "aria-label": "a net" }),
    ],
  }),
});
const text = () => editor.state.doc.toString();

function checkSoon() {
  version += 1;
  clearTimeout(typing);
  typing = setTimeout(check, PAUSE);
}

// The file that the text would be: that of its first net.
function fileName() {
  const [, name] = /^\s*net\s+([A-Za-z_]\w*)/m.exec(text()) || [];
  return `${(name || "net").toLowerCase()}.net`;
}

function show(content, set = "") {
  find("settings").value = set;
  // The text may be the same as before.
  checkSoon();
  editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: content } });
}

// ------------------------------------------------------------------------------------- compiler

const heard = {
  failed({ message }) {
    busy(false);
    find("status").textContent = `The compiler failed: ${message}`;
  },
  checked(found) {
    if (found.version !== version) return;
    known = found;
    showNets();
    showArguments();
    showShapes(editor, find("shapes").checked ? found.hints : []);
    showProblems();
    sayTotals();
  },
  fixes(found) {
    if (found.version !== version) return;
    known = { ...known, problems: found.problems };
    showProblems();
  },
  pane(found) {
    if (found.version !== version || found.which !== chosen()) return;
    busy(false);
    showPane(found);
  },
};

// What is checked answers while something else is written, which may take seconds.
const checker = new Compiler(heard);
let writer = null;

const chosen = () => (pane === "numpy" && find("plain").checked ? "plain" : pane);
const settings = () => find("settings").value;
const question = () => ({ version, text: text(), name: fileName(), settings: settings() });

function check() {
  checker.ask({ type: "check", ...question() });
  askForPane();
}

function askForPane() {
  busy(true);
  const isSource = pane === "torch" || pane === "numpy";
  if (isSource) writer ??= new Compiler({ failed: heard.failed, pane: heard.pane });
  const compiler = isSource ? writer : checker;
  compiler.ask({ type: "pane", ...question(), which: chosen(), net: find("net").value });
}

function busy(is) {
  document.body.classList.toggle("checking", is);
}

// ------------------------------------------------------------------------------------- messages

function fix(edits) {
  if (known.version !== version) return; // the text has changed since
  editor.dispatch({ changes: edits, userEvent: "input.fix" });
  editor.focus();
}

function showProblems() {
  editor.dispatch(setDiagnostics(editor.state, known.problems.map((problem) => ({
    from: problem.from,
    to: problem.to,
    severity: problem.severity,
    source: problem.code,
    message: problem.message,
    actions: problem.fixes.map(({ title, edits }) => ({ name: title, apply: () => fix(edits) })),
  }))));
  find("problems").replaceChildren(...known.problems.map(problemShown));
  find("problems").hidden = !known.problems.length;
}

function problemShown(problem) {
  const shown = element("article", problem.severity);
  const message = element("pre", "", problem.rendered);
  message.tabIndex = 0;
  message.title = "go to its place";
  message.onclick = () => {
    if (String(getSelection())) return;
    editor.dispatch({ selection: { anchor: problem.from }, scrollIntoView: true });
    editor.focus();
  };
  const about = element("a", "", `what ${problem.code} means`);
  about.href = `../codes/${problem.code}.html`;
  const actions = element("p", "");
  for (const { title, edits } of problem.fixes) {
    const button = element("button", "fix", title);
    button.onclick = () => fix(edits);
    actions.append(button);
  }
  actions.append(about);
  shown.append(message, actions);
  return shown;
}

function sayTotals() {
  const errors = known.problems.filter((problem) => problem.severity === "error").length;
  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  const warnings = known.problems.length - errors;
  const net = find("net").value;
  const parts = [
    ...(errors ? [count(errors, "error")] : []),
    ...(warnings ? [count(warnings, "warning")] : []),
    ...(net in known.totals ? [known.totals[net]] : []),
    `checked in ${Math.round(known.took)} ms`,
  ];
  find("status").textContent = find("status").title = parts.join(" · ");
}

// ---------------------------------------------------------------------------------------- panes

function showNets() {
  const select = find("net"), before = select.value;
  if ([...select.options].map((option) => option.value).join() === known.nets.join()) return;
  select.replaceChildren(...known.nets.map((name) => new Option(name)));
  if (known.nets.includes(before)) select.value = before;
  find("nets").hidden = known.nets.length < 2;
  // The pane was asked for before the names were known.
  if (select.value !== before) askForPane();
}

function showArguments() {
  find("settings").placeholder = known.arguments[find("net").value] || "";
}

const source = new EditorView({ parent: find("source") });

function showSource(content) {
  if (source.state.doc.toString() === content) return;
  source.setState(EditorState.create({
    doc: content,
    extensions: [
      basicSetup, python(), syntaxHighlighting(colours), EditorState.readOnly.of(true),
      EditorView.contentAttributes.of({ "aria-label": "the generated source" }),
    ],
  }));
}

// Content is netspec's own, in which every name of the text is escaped; the page's policy lets no
// script in it run.
function showPane({ form, content, which }) {
  const isStale = form === "error";
  find("stale").hidden = !isStale;
  find("pane").classList.toggle("stale", isStale);
  if (isStale) {
    // What an earlier pane showed is not of this one.
    if (find("pane").dataset.which !== which) empty();
    const hasErrors = known.problems.some((problem) => problem.severity === "error");
    const before = find("pane").dataset.which ? ": this is how it was before them." : ".";
    find("stale").textContent = hasErrors ? `The text has errors${before}` : content;
    return;
  }
  empty();
  find("pane").dataset.which = which;
  find("copy").hidden = form !== "text";
  if (form === "text") {
    find("source").hidden = false;
    showSource(content);
  } else if (form === "svg") {
    find("picture").hidden = false;
    picture.innerHTML = `<style>svg { max-width: 100%; height: auto; } svg .p { fill: none !important; }</style>${content}`;
    paint();
  } else {
    find("table").hidden = false;
    find("table").innerHTML = content;
  }
}

const picture = find("picture").attachShadow({ mode: "open" });

// Lets the picture follow the theme of the page, where it would follow the reader's.
function paint() {
  for (const { sheet } of picture.querySelectorAll("style")) {
    for (const rule of sheet.cssRules) {
      if (!rule.media || rule.media.mediaText.includes("print")) continue;
      rule.media.mediaText = theme() === "dark" ? "all" : "not all";
    }
  }
}

function empty() {
  for (const id of ["source", "picture", "table"]) find(id).hidden = true;
  find("copy").hidden = true;
  delete find("pane").dataset.which;
}

for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.onclick = () => {
    pane = tab.dataset.pane;
    for (const other of document.querySelectorAll("[role=tab]")) {
      other.setAttribute("aria-selected", String(other === tab));
    }
    find("plainly").hidden = pane !== "numpy";
    askForPane();
  };
}
find("plain").onchange = askForPane;
find("net").onchange = () => { sayTotals(); showArguments(); askForPane(); };
find("settings").oninput = checkSoon;
find("shapes").onchange = () => showShapes(editor, find("shapes").checked ? known.hints : []);
find("copy").onclick = () => copied(find("copy"), source.state.doc.toString());

async function copied(button, words) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(words);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

// ------------------------------------------------------------------------------ address and theme

find("share").onclick = async () => {
  history.replaceState(null, "", (await fragment(text())) + fragmentOfSettings(settings()));
  await copied(find("share"), location.href);
};

for (const name of Object.keys(examples)) find("example").append(new Option(name));
find("example").onchange = () => {
  const { value } = find("example");
  if (!(value in examples)) return;
  history.replaceState(null, "", `#net=${value}`);
  show(examples[value]);
  find("example").selectedIndex = 0;
};

const theme = () => document.documentElement.dataset.theme;
function setTheme(chosen) {
  document.documentElement.dataset.theme = chosen;
  find("theme").textContent = chosen === "dark" ? "Light" : "Dark";
  paint();
}
find("theme").onclick = () => {
  setTheme(theme() === "dark" ? "light" : "dark");
  localStorage.setItem("netspec-theme", theme());
};

async function open() {
  const [, named] = /^#net=([\w/-]+)(&|$)/.exec(location.hash) || [];
  const known = named in examples ? examples[named] : await shared(location.hash);
  show(known ?? examples.lenet, sharedSettings(location.hash));
}
addEventListener("hashchange", open);
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
setTheme(localStorage.getItem("netspec-theme") || (dark ? "dark" : "light"));
open();
