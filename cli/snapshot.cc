// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn snapshot`: a tree a second time, without a copy of its bytes. The work is the metaserver's; one that
// has just started is waited for until it knows who may be writing.
#include <filesystem>
#include <iostream>

#include "cli/commands.h"
#include "cli/mounted_file.h"
#include "cli/operator_line.h"
#include "cli/output.h"

namespace cairn::cli {

namespace {

constexpr int LOOKS_MAX = 140;  // half a second apart: a little more than the term of leases

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
             " has more than 20,000 files and directories, or more than 100,000 chunks: too much for one "
             "step. "
             "Nothing was changed; take its directories one by one";
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
  for (int looks = 0;; ++looks) {
    auto answer = cluster.ask("snapshot", CHANGE_PATIENCE, [&](rpc::Administration::Client& administration) {
      auto request = administration.snapshotRequest();
      request.setOriginal(source.inode);
      request.setDirectory(parent.inode);
      request.setName(target.filename().string());
      return request.send();
    });
    if (answer.getStatus() == Status::NOT_READY && looks < LOOKS_MAX) {
      if (looks == 0)
        std::cerr << "the metaserver has just started -> waiting until it knows who may be writing\n";
      cluster.pause();
      continue;
    }
    if (!ok(answer.getStatus())) throw Failure(refusalOf(answer.getStatus(), options));
    if (options.format == Format::JSON) {
      JsonWriter json;
      json.beginObject().field("inode", answer.getInode()).field("inodes", answer.getInodes());
      std::cout << json.endObject().text() << '\n';
    } else {
      std::cout << options.target << " is a snapshot of " << options.source << ": " << answer.getInodes()
                << " files and directories\n";
    }
    return ExitCode::DONE;
  }
}

}  // namespace cairn::cli
