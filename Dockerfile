# From the root of the repository; DRIVERS names the engines' drivers that are wanted, if any:
#
#   npm ci && npm run build
#   docker build -f deploy/Dockerfile -t workertown-kv [--build-arg DRIVERS="pg redis"] .

FROM node:24-slim AS install
WORKDIR /app
COPY package.json package-lock.json ./
# No package of ours has an install script that it needs.
RUN npm ci --omit=dev --omit=peer --ignore-scripts --no-audit --no-fund
ARG DRIVERS=""
RUN if [ -n "$DRIVERS" ]; then npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund $DRIVERS; fi
COPY dist dist
RUN install -d -m 0700 -o 10001 -g 10001 /data

FROM node:24-slim
COPY --from=install /app /app
COPY --from=install --chown=10001:10001 /data /data
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 KV_DB=/data/kv.sqlite KV_LOG=json
# A number, so that an orchestrator can see that it is not root. The root file system may be read-only.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# No shell in between: SIGTERM reaches the service.
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
CMD ["serve"]
