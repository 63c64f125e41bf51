/**
 * The baseline W: a plain group-commit append log over `node:http`. Whatever arrives while a group is written waits for the
 * next one; a group is one `write` and one `fdatasync`, and its answers go out after that.
 *
 *   node bench/servers/append-log.ts PORT CAPTURED LOG
 */
import { open } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { answerWrite, KEEP_ALIVE_MS, lengthName, modelOf, readBody } from "./answer.ts";
import { OPEN, PUT_OPEN, readCaptured } from "./captured.ts";

const [port, file = "", path = ""] = process.argv.slice(2);
const model = modelOf(readCaptured(file).get("PUT") ?? { status: 500, headers: [] });
const length = lengthName(model);
const log = await open(path, "a");

let waiting: { body: Buffer; response: ServerResponse }[] = [];
let isWriting = false;

async function write(): Promise<void> {
  isWriting = true;
  while (waiting.length > 0) {
    const group = waiting;
    waiting = [];
    await log.appendFile(Buffer.concat(group.map(({ body }) => body)));
    await log.datasync();
    for (const { body, response } of group)
      answerWrite(response, model, length, [OPEN, body.subarray(PUT_OPEN.length)]);
  }
  isWriting = false;
}

const server = createServer((request, response) => {
  readBody(request, (body) => {
    waiting.push({ body, response });
    if (!isWriting) void write();
  });
});
server.keepAliveTimeout = KEEP_ALIVE_MS;
server.listen(Number(port), "127.0.0.1");
