// Which candidate keypoints make a person: codecs/grouping.py of the Python package, step by step, in its order.

const NO_PERSON_COST = 1e10;
const MAX_HEAT_DIFFERENCE = 50;
const COCO_ORDER = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16];

/** Round half to even, as numpy does. */
export function rint(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** The order in which keypoints are grouped. */
export function keypointOrder(count) {
  const known = COCO_ORDER.filter((keypoint) => keypoint < count);
  for (let keypoint = COCO_ORDER.length; keypoint < count; keypoint++) known.push(keypoint);
  return known;
}

/** A person in the making; a tag is a single-precision number. */
class Person {
  constructor() {
    this.rows = new Map(); // keypoint -> {x, y, score, tag}
    this.tags = [];
    this.sum = 0;
    this.mean = 0;
  }

  put(keypoint, row) {
    this.rows.set(keypoint, row);
    this.tags.push(row.tag);
    const count = this.tags.length;
    if (count === 1) this.sum = row.tag;
    else if (count % 8 === 0) this.sum = sumOfEights(this.tags);
    else this.sum = Math.fround(this.sum + row.tag);
    this.mean = Math.fround(this.sum / count);
  }

  found(keypoint, row) {
    this.tags.length = 0;
    this.put(keypoint, row);
  }
}

/** numpy's sum of 8, 16, ... single-precision numbers: eight lanes, then pairs. */
function sumOfEights(values) {
  const f = Math.fround;
  const r = values.slice(0, 8);
  for (let i = 8; i < values.length; i++) r[i % 8] = f(r[i % 8] + values[i]);
  return f(f(f(r[0] + r[1]) + f(r[2] + r[3])) + f(f(r[4] + r[5]) + f(r[6] + r[7])));
}

/**
 * Return the people in the order of their founding: each a Map keypoint -> {x, y, score, tag}.
 * candidates: for each keypoint a list of such rows, highest score first.
 */
export function group(candidates, { maxPeople, tagThreshold, ignoreTooMuch }) {
  const people = new Map(); // by the founder's tag
  for (const keypoint of keypointOrder(candidates.length)) {
    const rows = candidates[keypoint];
    const asked = [...people.values()].slice(0, maxPeople);
    if (!rows.length || (ignoreTooMuch && asked.length === maxPeople)) continue;
    const columns = asked.length ? columnsOf(rows, asked, tagThreshold) : rows.map(() => -1);
    rows.forEach((row, i) => {
      if (columns[i] >= 0) {
        asked[columns[i]].put(keypoint, row);
        return;
      }
      if (!people.has(row.tag)) people.set(row.tag, new Person());
      people.get(row.tag).found(keypoint, row);
    });
  }
  return [...people.values()].map((person) => person.rows);
}

/** Return for each candidate the person it joins, -1 where it founds a new one. */
function columnsOf(rows, people, threshold) {
  const distances = rows.map((row) => people.map((person) => Math.abs(row.tag - person.mean)));
  const easy = obvious(distances, rows, threshold);
  if (easy) return easy;
  const costs = distances.map((line, i) => line.map((distance) => rint(distance) * 100 - rows[i].score));
  for (const line of costs) while (line.length < rows.length) line.push(NO_PERSON_COST);
  return assign(costs).map((column, i) =>
    column < people.length && distances[i][column] < threshold ? column : -1);
}

function obvious(distances, rows, threshold) {
  const columns = [];
  for (const line of distances) {
    const near = [];
    line.forEach((distance, column) => distance <= 0.5 && near.push(column));
    if (near.length > 1) return null;
    columns.push(near.length ? near[0] : -1);
  }
  const matched = columns.filter((column) => column >= 0);
  if (new Set(matched).size < matched.length) return null;
  if (matched.length < Math.min(distances.length, distances[0].length)) return null;
  if (matched.length < rows.length && rows[0].score - rows.at(-1).score > MAX_HEAT_DIFFERENCE) return null;
  return columns.map((column, i) => (column >= 0 && distances[i][column] < threshold ? column : -1));
}

/** Return a column for each row at the least total cost, ties as munkres 1.1.4 breaks them; rows <= columns. */
export function assign(costs) {
  const size = costs[0].length;
  const reduced = costs.map((line) => {
    const least = Math.min(...line);
    return line.map((cost) => cost - least);
  });
  const few = firstZeros(reduced);
  if (!few.includes(-1)) return few;
  while (reduced.length < size) reduced.push(new Array(size).fill(0));
  return new Assignment(reduced, firstZeros(reduced)).solve().slice(0, costs.length);
}

function firstZeros(costs) {
  const taken = new Set();
  return costs.map((line) => {
    const column = line.findIndex((cost, i) => cost === 0 && !taken.has(i));
    if (column >= 0) taken.add(column);
    return column;
  });
}

/** The state of one run of the Hungarian method. */
class Assignment {
  constructor(costs, stars) {
    this.costs = costs;
    this.size = costs.length;
    this.starOfRow = stars;
    this.starOfColumn = new Array(this.size).fill(-1);
    stars.forEach((column, row) => { if (column >= 0) this.starOfColumn[column] = row; });
    this.primeOfRow = new Array(this.size).fill(-1);
    this.rowCovered = new Array(this.size).fill(false);
    this.free = [];
  }

  solve() {
    this.coverStarredColumns();
    while (this.free.includes(true)) {
      this.augment(this.prime());
      this.coverStarredColumns();
    }
    return this.starOfRow;
  }

  coverStarredColumns() {
    this.free = this.starOfColumn.map((row) => row < 0);
  }

  /** Prime uncovered zeros, making new ones where there are none, until one has no star in its row. */
  prime() {
    let [row, column] = [0, 0];
    for (;;) {
      const zero = this.uncoveredZero(row, column);
      if (!zero) {
        this.makeZero();
        [row, column] = [0, 0];
        continue;
      }
      [row, column] = zero;
      this.primeOfRow[row] = column;
      if (this.starOfRow[row] < 0) return zero;
      column = this.starOfRow[row];
      this.rowCovered[row] = true;
      this.free[column] = true;
    }
  }

  /** Return the last uncovered zero of the first row that has one, both counted cyclically from the start. */
  uncoveredZero(firstRow, firstColumn) {
    for (let i = 0; i < this.size; i++) {
      const row = (firstRow + i) % this.size;
      if (this.rowCovered[row]) continue;
      for (let j = 1; j <= this.size; j++) {
        const column = (firstColumn - j + this.size) % this.size;
        if (this.free[column] && this.costs[row][column] === 0) return [row, column];
      }
    }
    return null;
  }

  /** Lower what is uncovered by its minimum. Adding before subtracting rounds as the reference does. */
  makeZero() {
    let least = Infinity;
    this.costs.forEach((line, row) => {
      if (this.rowCovered[row]) return;
      line.forEach((cost, column) => { if (this.free[column] && cost < least) least = cost; });
    });
    this.costs.forEach((line, row) => {
      for (let column = 0; column < this.size; column++) {
        if (this.rowCovered[row]) line[column] += least;
        if (this.free[column]) line[column] -= least;
      }
    });
  }

  /** Swap stars and primes along the path from an unstarred prime, then uncover and unprime everything. */
  augment([row, column]) {
    for (;;) {
      const starred = this.starOfColumn[column];
      this.starOfRow[row] = column;
      this.starOfColumn[column] = row;
      if (starred < 0) break;
      row = starred;
      column = this.primeOfRow[starred];
    }
    this.rowCovered.fill(false);
    this.primeOfRow.fill(-1);
  }
}
