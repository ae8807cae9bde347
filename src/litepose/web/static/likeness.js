// How alike two people are, and who was found twice: ports oks_nms of similarity.py of the Python package.

/**
 * Return the people, best first, without lower-scored ones who are more alike than `threshold` to one who stays.
 * people: [{score, area, keypoints: [[x, y, heat], ...]}], area in px^2. Of equal scores the later comes first.
 * foundAlone: count only keypoints that both have.
 */
export function withoutDoubles(people, { threshold, skeleton, foundAlone = false }) {
  const kept = [];
  for (const one of [...people].reverse().sort((a, b) => b.score - a.score)) {
    const known = kept.some((other) => likeness(one, other, skeleton.oks_sigmas, foundAlone) > threshold);
    if (threshold >= 1 || !known) kept.push(one);
  }
  return kept;
}

/** Object keypoint similarity, measured by the mean area. */
function likeness(one, other, sigmas, foundAlone) {
  const area = (one.area + other.area) / 2;
  let [sum, count] = [0, 0];
  one.keypoints.forEach(([x, y, heat], i) => {
    const [otherX, otherY, otherHeat] = other.keypoints[i];
    if (foundAlone && !(heat > 0 && otherHeat > 0)) return;
    sum += Math.exp(-((x - otherX) ** 2 + (y - otherY) ** 2) / (2 * sigmas[i]) ** 2 / area / 2);
    count += 1;
  });
  return sum / Math.max(count, 1);
}
