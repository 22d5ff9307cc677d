# patrol in an image that holds nothing else: no shell, no package manager, no
# root. Build: docker build --build-arg VERSION=1.2.3 -t patrol .
# Run:   docker run --rm -v "$PWD:/work" --user "$(id -u)" -e DATABRICKS_HOST … patrol audit
FROM golang:1.26.8 AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/patrol ./cmd/patrol \
 && mkdir -p /out/tmp /out/work && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/patrol /usr/local/bin/patrol
COPY --from=build --chown=65532:65532 /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/work /work
USER 65532:65532
ENV HOME=/work
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/patrol"]
