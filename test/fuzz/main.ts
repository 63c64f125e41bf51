/** `npm run fuzz`: FUZZ_INPUTS inputs (1,000,000) from FUZZ_SEED (the time) and FUZZ_FROM on, for FUZZ_SECONDS at most. */
import { fuzz } from "./run.ts";

const number = (name: string, otherwise: number) => Number(process.env[name] ?? otherwise);
const seed = number("FUZZ_SEED", Date.now() % 1_000_000_000);
const begun = performance.now();
const took = () => ((performance.now() - begun) / 1000).toFixed(0);
console.log(`seed ${seed}`);
try {
  const done = await fuzz({
    seed,
    from: number("FUZZ_FROM", 0),
    count: number("FUZZ_INPUTS", 1_000_000),
    seconds: number("FUZZ_SECONDS", 3600),
    fault: process.env.FUZZ_FAULT ?? "",
    progress: (done) => done % 10_000 === 0 && console.log(`${done} inputs, ${took()} s`),
  });
  console.log(`${done} inputs in ${took()} s: every answer as it must be`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
