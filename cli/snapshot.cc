// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn snapshot`: a tree a second time, without a copy of its bytes. The work is the metaserver's; one that
// has just started is waited for until it knows who may be writing, and so are other snapshots. A large tree
// is copied in steps: this program holds it, and ends it with itself.
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "cli/commands.h"
#include "cli/mounted_file.h"
#include "cli/operator_line.h"
#include "cli/output.h"

namespace cairn::cli {

namespace {

constexpr int LOOKS_MAX = 140;  // half a second apart: a little more than the term of leases
constexpr kj::Duration NEXT_PATIENCE = 60 * kj::SECONDS;  // it answers in a second, if it is not overloaded

struct Made {
  uint64_t inode = 0, inodes = 0;
};

std::string refusalOf(Status status, const SnapshotOptions& options) {
  switch (status) {
    case Status::EXISTS:
      return options.target + " exists. Nothing was changed; name a place that is free";
    case Status::LOOP:
      return options.target + " lies in " + options.source +
             ". Nothing was changed; name a place outside of it";
    case Status::NOT_DIRECTORY:
      return options.source + " is no directory: `cp` shares the chunks of a file";
    case Status::TOO_BIG:
      return options.source +
             " has more than 20,000 files and directories, or more than 100,000 chunks: too much for this "
             "version of the metaserver. Nothing was changed";
    case Status::OVER_QUOTA:
      return "the quota of the directory of " + options.target + " has no room for it. Nothing was changed";
    case Status::NOT_READY:
      return "the metaserver does not know yet who may be writing. Nothing was changed; try again in a "
             "minute";
    case Status::BUSY:
      return "not everybody who writes in " + options.source +
             " could be made to wait: a mount or a daemon does not answer. Nothing was changed; try again, "
             "`cairn status` shows the daemons";
    case Status::STALE:
    case Status::NOT_FOUND:
      return "a directory is gone. Nothing was changed";
    default:
      return std::string("the metaserver answers ") + kj::str(status).cStr() + ". Nothing was changed";
  }
}

Made follow(OperatorLine& cluster, rpc::TreeCopy::Client copy, const SnapshotOptions& options) {
  bool shown = options.format == Format::TEXT && isatty(STDERR_FILENO);
  for (;;) {
    kj::Maybe<capnp::Response<rpc::TreeCopy::NextResults>> told;
    try {
      told = cluster.ask("snapshot", NEXT_PATIENCE,
                         [&](rpc::Administration::Client&) { return copy.nextRequest().send(); });
    } catch (const Failure& failure) {
      throw Failure(std::string(failure.what()) + ". The snapshot was given up: if " + options.target +
                    " is not there, nothing of it is");
    }
    auto& answer = KJ_ASSERT_NONNULL(told);
    if (shown) std::cerr << "\r\033[K";
    if (answer.getDone()) {
      if (!ok(answer.getStatus())) throw Failure(refusalOf(answer.getStatus(), options));
      return {answer.getInode(), answer.getInodes()};
    }
    if (shown) {
      std::cerr << (answer.getInodes() == 0 ? std::string("waiting for those who write")
                                            : plural(answer.getInodes(), "inode") + " copied")
                << std::flush;
    }
  }
}

Made take(OperatorLine& cluster, const MountedFile& source, const MountedFile& parent,
          const std::string& name, const SnapshotOptions& options) {
  bool saidWhy = false;
  auto waitFor = [&](const char* why) {
    if (!saidWhy) std::cerr << why << '\n';
    saidWhy = true;
    cluster.pause();
  };
  for (int looks = 0;;) {
    auto answer = cluster.ask("snapshot", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
      auto request = administration.snapshotRequest();
      request.setOriginal(source.inode);
      request.setDirectory(parent.inode);
      request.setName(name);
      request.setSteps(true);
      return request.send();
    });
    if (answer.getStatus() == Status::NOT_READY && ++looks <= LOOKS_MAX) {
      waitFor("the metaserver has just started -> waiting until it knows who may be writing");
    } else if (answer.getStatus() == Status::BUSY && answer.getUnderWay()) {
      waitFor("another snapshot is being made -> waiting for it");
    } else if (!ok(answer.getStatus())) {
      throw Failure(refusalOf(answer.getStatus(), options));
    } else if (answer.hasCopy()) {
      return follow(cluster, answer.getCopy(), options);
    } else {
      return {answer.getInode(), answer.getInodes()};
    }
  }
}

}  // namespace

ExitCode snapshot(const SnapshotOptions& options) {
  namespace fs = std::filesystem;
  auto source = findMountedFile(options.source);
  auto target = fs::path(options.target);
  while (!target.has_filename() && target.has_relative_path()) target = target.parent_path();  // "DST/"
  if (!target.has_filename()) throw Failure(options.target + " names no new directory", ExitCode::USAGE);
  auto parent = findMountedFile(target.has_parent_path() ? target.parent_path().string() : ".");
  if (parent.metaservers != source.metaservers) {
    throw Failure(options.source + " and " + options.target + " are not in the same CairnFS");
  }
  OperatorLine cluster(source.metaservers.at(0));
  auto made = take(cluster, source, parent, target.filename().string(), options);
  if (options.format == Format::JSON) {
    JsonWriter json;
    json.beginObject().field("inode", made.inode).field("inodes", made.inodes);
    std::cout << json.endObject().text() << '\n';
  } else {
    std::cout << options.target << " is a snapshot of " << options.source << ": " << made.inodes
              << " files and directories\n";
  }
  return ExitCode::DONE;
}

}  // namespace cairn::cli
