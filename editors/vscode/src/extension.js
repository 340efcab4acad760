// The client of `netspec lsp`, and a picture of the net beside its text.
"use strict";

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const [command, ...args] = vscode.workspace.getConfiguration("netspec").get("command");
  const watcher = vscode.workspace.createFileSystemWatcher("**/*.net");
  client = new LanguageClient("netspec", "netspec", { command, args }, {
    // No versions of a file in git, nor what another machine shows: they have no folder to import from.
    documentSelector: ["file", "untitled"].map((scheme) => ({ scheme, language: "netspec" })),
    synchronize: { fileEvents: watcher },
    initializationOptions: { commands: ["netspec.draw", "netspec.train", "editor.action.triggerParameterHints"] },
  });
  try {
    await client.start();
  } catch {
    const chosen = await vscode.window.showErrorMessage(
      `${[command, ...args].join(" ")} could not be started. It comes with: pip install 'netspec-dsl[lsp]'`,
      "Settings"
    );
    if (chosen) vscode.commands.executeCommand("workbench.action.openSettings", "netspec.command");
  }
}

// One panel for each net, which follows the text and the cursor.
class Drawing {
  static panels = new Map();

  static async show(uri, net) {
    const name = `${uri}#${net}`;
    const found = Drawing.panels.get(name);
    if (found) return found.panel.reveal(undefined, true);
    const drawing = new Drawing(uri, net);
    Drawing.panels.set(name, drawing);
    drawing.panel.onDidDispose(() => Drawing.panels.delete(name));
    await drawing.update();
  }

  constructor(uri, net) {
    this.uri = uri;
    this.net = net;
    const where = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    this.panel = vscode.window.createWebviewPanel("netspec", net, where, { enableScripts: true, localResourceRoots: [] });
    this.panel.webview.onDidReceiveMessage((message) => this.jump(message));
  }

  async update() {
    const page = await request("netspec.drawing", [this.uri, this.net]);
    if (page && page !== this.page) this.panel.webview.html = this.page = page;
  }

  follow(line) {
    this.panel.webview.postMessage({ line: line + 1 });
  }

  async jump({ where }) {
    const [, file, line] = /^(.*):(\d+)$/.exec(String(where)) || [];
    if (!file) return;
    const own = vscode.Uri.parse(this.uri);
    const target = own.path.endsWith(`/${file}`) ? own : vscode.Uri.joinPath(own, "..", file);
    const at = new vscode.Position(line - 1, 0);
    const options = { viewColumn: vscode.ViewColumn.One, selection: new vscode.Range(at, at) };
    await vscode.window.showTextDocument(target, options);
  }
}

function request(command, args) {
  return client.sendRequest("workspace/executeCommand", { command, arguments: args }).catch(() => null);
}

function activeUri() {
  const editor = vscode.window.activeTextEditor;
  return editor && editor.document.languageId === "netspec" ? editor.document.uri.toString() : null;
}

// The net that the cursor is in, or the first one.
async function drawHere() {
  const uri = activeUri();
  if (!uri) return;
  const symbols = await vscode.commands.executeCommand("vscode.executeDocumentSymbolProvider", vscode.Uri.parse(uri));
  const nets = (symbols || []).filter((symbol) => symbol.kind === vscode.SymbolKind.Class);
  const cursor = vscode.window.activeTextEditor.selection.active;
  const net = nets.find((symbol) => symbol.range.contains(cursor)) || nets[0];
  if (net) await Drawing.show(uri, net.name);
}

function train(uri, net) {
  const path = vscode.Uri.parse(uri).fsPath;
  const terminal = vscode.window.createTerminal({ name: `train ${net}` });
  terminal.show();
  // The command waits for Enter: training needs data, which only its user knows.
  const quoted = process.platform === "win32" ? `"${path}"` : `'${path.replaceAll("'", `'\\''`)}'`;
  const [command] = vscode.workspace.getConfiguration("netspec").get("command");
  const program = /\bnetspec(\.exe)?$/.test(command) && !/\s/.test(command) ? command : "netspec";
  terminal.sendText(`${program} train numpy ${quoted} --net ${net} --data `, false);
}

let waiting;

function activate(context) {
  context.subscriptions.push(
    vscode.commands.registerCommand("netspec.draw", Drawing.show),
    vscode.commands.registerCommand("netspec.drawHere", drawHere),
    vscode.commands.registerCommand("netspec.train", train),
    vscode.commands.registerCommand("netspec.writeShapesHere", () => activeUri() && request("netspec.writeShapes", [activeUri()])),
    vscode.commands.registerCommand("netspec.restart", async () => {
      await client.stop().catch(() => {});
      await start();
    }),
    vscode.workspace.onDidChangeTextDocument(({ document }) => {
      if (document.languageId !== "netspec" || !Drawing.panels.size) return;
      clearTimeout(waiting);
      waiting = setTimeout(() => Drawing.panels.forEach((drawing) => drawing.update()), 400);
    }),
    vscode.window.onDidChangeTextEditorSelection(({ textEditor, selections }) => {
      const uri = textEditor.document.uri.toString();
      for (const drawing of Drawing.panels.values()) {
        if (drawing.uri === uri) drawing.follow(selections[0].active.line);
      }
    })
  );
  return start();
}

function deactivate() {
  return client && client.stop();
}

module.exports = { activate, deactivate };
