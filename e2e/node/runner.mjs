// Collects tests, runs them in the order they were written, and prints a line for each.

import { readFileSync } from 'node:fs';

const FLOWS = new URL('../flows.json', import.meta.url);
const tests = [];

export const test = (sentence, work) => tests.push({ sentence, work });

/** Runs the chosen tests and returns the exit status. */
export async function run(suite, words) {
  const chosen = tests.filter(({ sentence }) => !words.length || words.some((word) => sentence.includes(word)));
  let passed = 0;
  let failed = 0;
  const shown = new Set();
  for (const { sentence, work } of chosen) {
    const began = performance.now();
    try {
      await work();
      passed += 1;
      shown.add(sentence);
      console.log(`pass  ${sentence} (${Math.round(performance.now() - began)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${sentence}\n${error.stack}`);
      if (error.cause) console.log('cause:', error.cause);
    }
  }
  if (!words.length) failed += table(suite, shown);
  console.log(`${suite}: ${passed} passed, ${failed} failed`);
  return failed || !passed ? 1 : 0;
}

/** Prints the flows of clients that this suite is to show, and counts those that it did not. */
function table(suite, shown) {
  const flows = JSON.parse(readFileSync(FLOWS, 'utf8')).filter((flow) => flow.suite === suite);
  for (const { client, flow, test: by } of flows) console.log(`${shown.has(by) ? 'shown' : 'NOT SHOWN'}  ${client}: ${flow}`);
  return flows.filter(({ test: by }) => !shown.has(by)).length;
}

/** The value of a promise that is made at most once. */
export const once = (make) => {
  let made;
  return () => (made ??= make());
};
