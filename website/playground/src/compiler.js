// netspec in a worker of its own, which is asked about texts.
const PATIENCE = 5000; // milliseconds that an answer nobody waits for any more may still take

export class Compiler {
  // heard: a function for each type of message: `ready`, `failed`, `checked`, `fixes`, `pane`.
  constructor(heard) {
    this.heard = heard;
    this.number = 0;
    this.start();
  }

  start() {
    this.worker?.terminate();
    this.isReady = false;
    this.failed = false;
    this.asked = new Map(); // what is not answered yet, by its type
    this.since = null;
    this.worker = new Worker("worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => this.hear({ type: "failed", message: event.message });
  }

  // Asks a question; of questions of one type only the last is answered.
  ask(asked) {
    const question = { ...asked, number: ++this.number };
    const isLate = this.since !== null && performance.now() - this.since > PATIENCE;
    if (this.failed || (this.isReady && isLate)) this.start();
    this.asked.set(question.type, question);
    if (this.isReady) this.send(question);
  }

  send(question) {
    this.since ??= performance.now();
    this.worker.postMessage(question);
  }

  hear(message) {
    if (message.type === "ready") {
      this.isReady = true;
      for (const question of this.asked.values()) this.send(question);
    }
    if (message.type === "failed") this.failed = true;
    for (const [type, { number }] of this.asked) {
      if (number === message.number) this.asked.delete(type);
    }
    if (!this.asked.size) this.since = null;
    this.heard[message.type]?.(message);
  }
}
