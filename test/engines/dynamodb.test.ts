import { missing, startDynamodb } from "./dynamodb-server.ts";
import { testEngine } from "./engine.ts";

testEngine({ name: "dynamodb", missing, start: startDynamodb });
