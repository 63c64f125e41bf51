import { concat, decoder, encoder, lengthOf } from "../core/bytes.ts";

/**
 * What an adapter and its Durable Object say to each other: the length of a JSON text in four bytes, the text, and behind
 * it the values as they are. In the text a member `value` is the length of its value, in their order.
 */
const LENGTH_BYTES = 4;
/** What is no longer than this goes in one piece: a stream costs more than a copy. */
const PIECE_BYTES = 1_048_576;

/** The body of a message. A long one is a stream, so that its values are not copied to stand behind each other. */
export function encodeMessage(message: unknown): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  const values: Uint8Array[] = [];
  const text = encoder.encode(
    JSON.stringify(message, function (this: Record<string, unknown>, name, member: unknown) {
      // Not `member`: a Buffer of Node's has become an object of numbers by then.
      const value = this[name];
      if (name !== "value" || !(value instanceof Uint8Array)) return member;
      values.push(value);
      return value.length;
    }),
  );
  const length = new Uint8Array(LENGTH_BYTES);
  new DataView(length.buffer).setUint32(0, text.length);
  const parts = [length, text, ...values];
  return lengthOf(parts) <= PIECE_BYTES ? concat(parts) : streamOf(parts);
}

/** The message again; its values are views of the body. */
export function decodeMessage(body: ArrayBuffer): unknown {
  const length = new DataView(body).getUint32(0);
  let at = LENGTH_BYTES + length;
  const text = decoder.decode(new Uint8Array(body, LENGTH_BYTES, length));
  return JSON.parse(text, (name, member: unknown) => {
    if (name !== "value" || typeof member !== "number") return member;
    const value = new Uint8Array(body, at, member);
    at += member;
    return value;
  });
}

function streamOf(parts: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const rest = parts.values();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = rest.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}
