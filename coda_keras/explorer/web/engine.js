// The page's side of the worker that computes: questions, and promises of their answers.

export class Engine {
  /** code: the worker's script. Pages opened from disk have no other way to start one. */
  constructor(code) {
    this.waiting = new Map();
    this.turn = 0;
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.worker = new Worker(url);
    this.worker.onmessage = ({ data: { turn, error, ...answer } }) => {
      const { resolve, reject } = this.waiting.get(turn);
      this.waiting.delete(turn);
      if (error) reject(new Error(error));
      else resolve(answer);
    };
    this.worker.onerror = ({ message }) => {
      for (const { reject } of this.waiting.values()) reject(new Error(`The net failed: ${message}`));
      this.waiting.clear();
    };
  }

  /** question: {kind, ...}, as worker.js takes it. */
  ask(question) {
    const turn = ++this.turn;
    return new Promise((resolve, reject) => {
      this.waiting.set(turn, { resolve, reject });
      this.worker.postMessage({ turn, ...question });
    });
  }
}
