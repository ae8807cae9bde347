// People onto a canvas that lies over the picture: limbs coloured by side with a dark rim, dots on keypoints.

// Blue and orange stay apart for the colour-blind (Okabe and Ito 2008); the middle is a warm white.
const COLOURS = { left: "rgb(255 165 60)", right: "rgb(50 175 255)", centre: "rgb(245 240 225)" };
const RIM = "rgb(25 30 45)";

const sideOf = (...names) => {
  const sides = new Set(names.map((name) => (/^(left|right)_/.exec(name) ?? [, "centre"])[1]));
  return sides.size === 1 ? [...sides][0] : "centre";
};

/** Draw people in picture pixels, of those surer than `minScore` the keypoints surer than `minKeypointScore`. */
export function draw(canvas, people, skeleton, { minScore, minKeypointScore }) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineCap = "round";
  for (const person of people) {
    if (person.score >= minScore) drawPerson(context, person.keypoints, skeleton, minKeypointScore);
  }
}

function drawPerson(context, keypoints, skeleton, least) {
  const seen = keypoints.map(([, , score]) => score > 0 && score >= least);
  const xs = keypoints.filter((_, i) => seen[i]).map(([x]) => x);
  const ys = keypoints.filter((_, i) => seen[i]).map(([, y]) => y);
  const extent = Math.hypot(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  const width = Math.max(2, Math.min(extent / 45, context.canvas.width / 90));
  const index = new Map(skeleton.keypoints.map((name, i) => [name, i]));
  const limbs = skeleton.limbs.map(([a, b]) => [index.get(a), index.get(b), sideOf(a, b)])
    .filter(([a, b]) => seen[a] && seen[b]);
  for (const rim of [true, false]) {
    for (const [a, b, side] of limbs) {
      context.strokeStyle = rim ? RIM : COLOURS[side];
      context.lineWidth = width * (rim ? 1.8 : 1);
      context.beginPath();
      context.moveTo(keypoints[a][0] + 0.5, keypoints[a][1] + 0.5); // a pixel's middle is at integers, a canvas' at halves
      context.lineTo(keypoints[b][0] + 0.5, keypoints[b][1] + 0.5);
      context.stroke();
    }
    keypoints.forEach(([x, y], i) => {
      if (!seen[i]) return;
      context.fillStyle = rim ? RIM : COLOURS[sideOf(skeleton.keypoints[i])];
      context.beginPath();
      context.arc(x + 0.5, y + 0.5, width * (rim ? 1.25 : 0.85), 0, 2 * Math.PI);
      context.fill();
    });
  }
}
