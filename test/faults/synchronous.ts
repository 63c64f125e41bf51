/**
 * Loaded before the command (`--import`) by controls: every connection flushes less than ours do, as `SYNCHRONOUS` says. A
 * test that finds nothing lost then would find nothing ever.
 */
import { DatabaseSync } from "node:sqlite";

const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
  exec.call(this, sql.replace(/(PRAGMA synchronous = )FULL/, `$1${process.env.SYNCHRONOUS}`));
};
