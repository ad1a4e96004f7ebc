// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn append FILE`: one record through the client library (GFS paper, section 3.3). The kernel's mount is
// used only to find and make the file, and to check permissions.
#include <kj/debug.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "cli/commands.h"
#include "cli/metaserver_line.h"
#include "cli/mounted_file.h"
#include "cli/output.h"
#include "client/remote_filesystem.h"
#include "env/machine.h"
#include "rpc/coroutine.h"

namespace cairn::cli {

namespace {

constexpr kj::Duration PATIENCE = 30 * kj::SECONDS;  // a person waits

std::string allOfStandardInput() {
  std::string data;
  char part[64 << 10];
  while (data.size() <= RECORD_SIZE_MAX) {
    auto count = read(STDIN_FILENO, part, sizeof(part));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Failure(std::string("cannot read standard input: ") + std::strerror(errno));
    if (count == 0) break;
    data.append(part, static_cast<size_t>(count));
  }
  return data;
}

std::string recordFrom(const AppendOptions& options) {
  auto record = options.data ? *options.data : allOfStandardInput();
  if (record.empty()) throw Failure("the record is empty; nothing was appended", ExitCode::USAGE);
  if (record.size() > RECORD_SIZE_MAX) {
    throw Failure("the record is larger than " + humanBytes(RECORD_SIZE_MAX) + "; nothing was appended",
                  ExitCode::USAGE);
  }
  return record;
}

Failure refused(const std::string& file, Status status) {
  return Failure(file + ": the record was not appended: " + kj::str(status).cStr());
}

Async<FileOffset> appendRecord(Filesystem& filesystem, MountedFile file, std::string record,
                               const AppendOptions& options, kj::Maybe<Failure>& failure) {
  auto opened = co_await filesystem.open(InodeId(file.inode));
  if (!opened.ok()) {
    failure = refused(options.file, opened.status());
    co_return FileOffset();
  }
  auto appended = co_await opened.value()->recordAppend(
      kj::arrayPtr(reinterpret_cast<const kj::byte*>(record.data()), record.size()));
  if (!appended.ok()) {
    failure = refused(options.file, appended.status());
    co_return FileOffset();
  }
  auto status = Status::OK;
  if (options.sync == AppendOptions::Sync::YES) status = co_await opened.value()->sync();
  if (!ok(status)) {
    failure = Failure(options.file + ": the record is at " + std::to_string(appended->value()) +
                      ", but not on stable storage: " + kj::str(status).cStr());
  }
  co_return appended.value();
}

}  // namespace

ExitCode append(const AppendOptions& options) {
  auto record = recordFrom(options);
  auto size = record.size();
  auto file = openMountedFile(options.file);
  auto io = kj::setupAsyncIo();
  env::SystemEntropy entropy;
  BufferPool pool;
  auto metaservers = kj::heapArrayBuilder<kj::String>(file.metaservers.size());
  for (auto& address : file.metaservers) metaservers.add(kj::str(address));
  auto& clock = kj::systemPreciseCalendarClock();
  FilesystemOptions parts{
      .timer = io.provider->getTimer(),
      .clock = clock,
      .network = io.provider->getNetwork(),
      .entropy = entropy,
      .pool = pool,
      .log = env::Logger(env::newStderrSink(), clock, env::LogLevel::ERROR, "append"),
      .metaservers = metaservers.finish(),
      .name = kj::str("cairn append ", options.file, ", pid ", getpid()),
      .host = env::machineIdentity(),
  };
  parts.timing.patience = PATIENCE;

  FileOffset offset;
  kj::Maybe<Failure> failure;
  auto problem = kj::runCatchingExceptions([&]() {
    auto filesystem = connectFilesystem(kj::mv(parts)).wait(io.waitScope);
    offset = appendRecord(*filesystem, kj::mv(file), kj::mv(record), options, failure).wait(io.waitScope);
    filesystem->shutdown().wait(io.waitScope);
  });
  KJ_IF_MAYBE (exception, problem) throw Failure(options.file + ": " + exception->getDescription().cStr());
  KJ_IF_MAYBE (reason, failure) throw *reason;

  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("file", options.file).field("offset", offset.value()).field("size", size);
    std::cout << json.endObject().text() << std::endl;
  } else {
    std::cout << offset.value() << std::endl;
  }
  return ExitCode::DONE;
}

}  // namespace cairn::cli
