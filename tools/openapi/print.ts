/** Prints the OpenAPI document of a service with every group on. */
import { kv } from "../../src/index.ts";

const response = await kv({ logger: false }).request("/open-api.json");
console.log(JSON.stringify(await response.json(), null, 2));
