// Collects tests, runs them in the order they were written, and prints a line for each.

const tests = [];

export const test = (sentence, work) => tests.push({ sentence, work });

/** Runs the chosen tests and returns the exit status. */
export async function run(suite, words) {
  const chosen = tests.filter(({ sentence }) => !words.length || words.some((word) => sentence.includes(word)));
  let passed = 0;
  let failed = 0;
  for (const { sentence, work } of chosen) {
    const began = performance.now();
    try {
      await work();
      passed += 1;
      console.log(`pass  ${sentence} (${Math.round(performance.now() - began)} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${sentence}\n${error.stack}`);
      if (error.cause) console.log('cause:', error.cause);
    }
  }
  console.log(`${suite}: ${passed} passed, ${failed} failed`);
  return failed || !passed ? 1 : 0;
}

/** The value of a promise that is made at most once. */
export const once = (make) => {
  let made;
  return () => (made ??= make());
};
