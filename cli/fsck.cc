// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// `cairn fsck`: has the metaserver check the whole system, and tells people, file by file, what it finds.
#include <unistd.h>

#include <iostream>

#include "cli/cluster_target.h"
#include "cli/commands.h"
#include "cli/operator_line.h"
#include "cli/output.h"

namespace cairn::cli {

namespace {

constexpr kj::Duration NEXT_PATIENCE = 30 * kj::MINUTES;  // names are looked for in the whole namespace
constexpr const char* SEVERITIES[] = {"note", "warning", "error"};

std::string str(capnp::Text::Reader text) {
  return std::string(text.begin(), text.size());
}

class Progress {
  // One line on a terminal, written over and over.
 public:
  explicit Progress(Format format) : shown(format == Format::TEXT && isatty(STDERR_FILENO)) {}
  ~Progress() { clear(); }
  void show(const std::string& stage, uint64_t rows) {
    if (!shown) return;
    std::cerr << "\r\033[Kchecking: " << stage << ", " << rows << " looked at" << std::flush;
    visible = true;
  }
  void clear() {
    if (visible) std::cerr << "\r\033[K" << std::flush;
    visible = false;
  }

 private:
  bool shown, visible = false;
};

struct Tally {
  uint64_t notes = 0, repaired = 0, begun = 0, left = 0;

  void count(rpc::Finding::Reader finding) {
    if (finding.getSeverity() == 0) {
      ++notes;
    } else if (finding.getRepair() == rpc::Repaired::YES) {
      ++repaired;
    } else {
      ++left;
      begun += finding.getRepair() == rpc::Repaired::BEGUN;
    }
  }
  ExitCode code() const {
    return left > 0 ? ExitCode::LEFT : repaired > 0 ? ExitCode::REPAIRED : ExitCode::DONE;
  }
};

void print(rpc::Finding::Reader finding) {
  std::cout << SEVERITIES[std::min<size_t>(finding.getSeverity(), 2)] << ": ";
  bool first = true;
  for (auto path : finding.getPaths()) {
    std::cout << (first ? "" : ", ") << str(path);
    first = false;
  }
  std::cout << (first ? "" : ": ") << str(finding.getSentence());
  if (finding.getRepair() == rpc::Repaired::YES) {
    std::cout << " -> repaired";
  } else if (finding.getRepair() == rpc::Repaired::BEGUN) {
    std::cout << " -> repair goes on with it";
  } else if (finding.getAdvice().size() > 0) {
    std::cout << " (" << str(finding.getAdvice()) << ")";
  }
  std::cout << '\n';
}

void write(JsonWriter& json, rpc::Finding::Reader finding) {
  json.beginObject().field("trouble", str(finding.getTrouble()));
  json.field("severity", SEVERITIES[std::min<size_t>(finding.getSeverity(), 2)]).key("paths").beginArray();
  for (auto path : finding.getPaths()) json.value(str(path));
  json.endArray().field("inode", finding.getInode()).field("chunk", finding.getChunk());
  json.field("server", finding.getServer()).field("sentence", str(finding.getSentence()));
  json.field("advice", str(finding.getAdvice()));
  auto repair = finding.getRepair();
  json.field("repair", repair == rpc::Repaired::YES     ? "yes"
                       : repair == rpc::Repaired::BEGUN ? "begun"
                                                        : "no");
  json.endObject();
}

void finish(const Tally& tally, uint64_t kept, const FsckOptions& options) {
  if (tally.left + tally.repaired == 0) {
    std::cout << "clean";
  } else {
    std::cout << plural(tally.left + tally.repaired, "problem") << ": " << tally.repaired << " repaired, "
              << tally.begun << " that repair goes on with, " << tally.left - tally.begun << " left";
  }
  if (tally.notes > 0) std::cout << "; " << plural(tally.notes, "note");
  if (kept > 0) std::cout << "; " << plural(kept, "kept replica") << " let go";
  if (tally.left > tally.begun && options.repair == FsckOptions::Repair::NO)
    std::cout << ". --repair puts right what can be without a choice";
  std::cout << '\n';
}

uint64_t dropKept(OperatorLine& cluster) {
  auto released = cluster.ask(
      "releaseKept", ANSWER_PATIENCE,
      [](rpc::Administration::Client& administration) { return administration.releaseKeptRequest().send(); });
  if (!ok(released.getStatus())) {
    throw Failure(std::string("the metaserver does not let the kept chunks go: ") +
                      kj::str(released.getStatus()).cStr(),
                  ExitCode::CHECK_FAILED);
  }
  return released.getKept();
}

ExitCode check(const FsckOptions& options) {
  OperatorLine cluster(findCluster(options.cluster).metaserver);
  auto begun = cluster.ask("check", ANSWER_PATIENCE, [&](rpc::Administration::Client& administration) {
    auto request = administration.checkRequest();
    request.setData(options.data == FsckOptions::Data::YES);
    request.setRepair(options.repair == FsckOptions::Repair::YES);
    return request.send();
  });
  if (begun.getStatus() == Status::BUSY) throw Failure("another check is under way");
  if (begun.getStatus() == Status::NOT_READY) {
    throw Failure(
        "the metaserver is in safe mode: not all stores have told what they hold; `cairn status` says more");
  }
  if (!ok(begun.getStatus())) {
    throw Failure(std::string("the metaserver answers ") + kj::str(begun.getStatus()).cStr());
  }
  auto running = begun.getCheck();
  bool json = options.format == Format::JSON;
  Progress progress(options.format);
  Tally tally;
  JsonWriter document;
  document.beginObject().key("findings").beginArray();
  for (bool end = false; !end;) {
    auto answer = cluster.ask("check", NEXT_PATIENCE,
                              [&](rpc::Administration::Client&) { return running.nextRequest().send(); });
    progress.clear();
    for (auto finding : answer.getFindings()) {
      tally.count(finding);
      json ? write(document, finding) : print(finding);
    }
    std::cout << std::flush;
    end = answer.getEnd();
    progress.show(str(answer.getStage()), answer.getRows());
  }
  progress.clear();
  auto kept = options.kept == FsckOptions::Kept::DROP ? dropKept(cluster) : 0;
  if (json) {
    document.endArray().field("repaired", tally.repaired).field("begun", tally.begun);
    document.field("left", tally.left).field("notes", tally.notes).field("dropped", kept).endObject();
    std::cout << document.text() << '\n';
  } else {
    finish(tally, kept, options);
  }
  return tally.code();
}

}  // namespace

ExitCode fsck(const FsckOptions& options) {
  try {
    return check(options);
  } catch (const Failure& failure) {
    // 1 means something else here: see fsck(8).
    throw Failure(failure.what(), failure.code == ExitCode::USAGE ? ExitCode::USAGE : ExitCode::CHECK_FAILED);
  }
}

}  // namespace cairn::cli
