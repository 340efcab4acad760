"use strict";
// What is drawn, as strokes of points between 0 and 1; the net reads it as a picture of 28 by 28 pixels.

const SIZE = 28, CLASSES = 10, LARGE = 20, WIDTH = 2.3;
const paper = document.getElementById("paper");
const seen = document.getElementById("seen").getContext("2d", { willReadFrequently: true });
const ink = () => getComputedStyle(document.body).color;
let strokes = [];

let net; // the functions of the C file

/** Returns the number of the likeliest digit, and the probabilities of all. */
function classified(pixels) {
  const image = net.__heap_base.value, scores = image + 4 * SIZE * SIZE;
  new Float32Array(net.memory.buffer, image, SIZE * SIZE).set(pixels);
  const best = net.lenet_classify(image, scores);
  return [best, Array.from(new Float32Array(net.memory.buffer, scores, CLASSES))];
}

/** Draws the strokes, each point moved to `scale * point + start`, as lines of some width. */
function draw(context, scale, startX, startY, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const [first, ...rest] of strokes) {
    context.beginPath();
    context.moveTo(scale * first[0] + startX, scale * first[1] + startY);
    for (const [x, y] of rest.length ? rest : [first])
      context.lineTo(scale * x + startX, scale * y + startY);
    context.stroke();
  }
}

/** Draws what the net sees, moved by some pixels, and returns it: white on black, from 0 to 255. */
function pictured(moveX, moveY) {
  const points = strokes.flat(), [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [across, down] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (LARGE - WIDTH) / Math.max(across, down, 0.1);
  seen.fillStyle = "black";
  seen.fillRect(0, 0, SIZE, SIZE);
  seen.strokeStyle = "white";
  draw(seen, scale, SIZE / 2 - scale * (left + across / 2) + moveX,
       SIZE / 2 - scale * (top + down / 2) + moveY, WIDTH);
  return seen.getImageData(0, 0, SIZE, SIZE).data.filter((_, i) => i % 4 === 0);
}

/** Returns how far the centre of mass is from the middle. */
function offCentre(pixels) {
  const sums = [0, 0, 0];
  pixels.forEach((value, i) => {
    [value, value * (i % SIZE + 0.5), value * (Math.floor(i / SIZE) + 0.5)]
      .forEach((each, k) => { sums[k] += each; });
  });
  return [sums[1] / sums[0] - SIZE / 2, sums[2] / sums[0] - SIZE / 2];
}

function show() {
  const context = paper.getContext("2d");
  context.clearRect(0, 0, paper.width, paper.height);
  context.strokeStyle = ink();
  draw(context, paper.width, 0, 0, paper.width / 16);
  if (!strokes.length || !net) {
    seen.clearRect(0, 0, SIZE, SIZE);
    return tell("nothing yet", new Array(CLASSES).fill(0), "");
  }
  const [x, y] = offCentre(pictured(0, 0));
  const pixels = pictured(-x, -y), start = performance.now();
  const [best, chances] = classified(pixels);
  tell(best, chances, `It took ${(performance.now() - start).toFixed(1)} ms.`);
}

function tell(answer, chances, time) {
  document.getElementById("answer").textContent = answer;
  document.getElementById("time").textContent = time;
  document.querySelectorAll("#chances li").forEach((row, i) => {
    row.querySelector("meter").value = chances[i];
    row.querySelector("span").textContent = `${(100 * chances[i]).toFixed(1)} %`;
    row.classList.toggle("best", i === answer);
  });
}

function point(event) {
  const box = paper.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

for (let i = 0; i < CLASSES; i++) {
  const row = document.createElement("li");
  row.append(i, document.createElement("meter"), document.createElement("span"));
  row.querySelector("meter").setAttribute("aria-label", `probability of ${i}`);
  document.getElementById("chances").append(row);
}
paper.addEventListener("pointerdown", (event) => {
  paper.setPointerCapture(event.pointerId);
  strokes.push([point(event)]);
  show();
});
paper.addEventListener("pointermove", (event) => {
  if (!paper.hasPointerCapture(event.pointerId)) return;
  strokes[strokes.length - 1].push(point(event));
  show();
});
document.getElementById("clear").addEventListener("click", () => {
  strokes = [];
  show();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
const bytes = Uint8Array.from(atob(PROGRAM), (char) => char.charCodeAt(0));
WebAssembly.instantiate(bytes).then(({ instance }) => {
  net = instance.exports;
  net.memory.grow(1); // for the picture and the probabilities, behind what the file has
  show();
});
