// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See differ_allowed.h.
#include "test/e2e/differ_allowed.h"

#include <sys/stat.h>

#include <sstream>
#include <vector>

namespace cairn::e2e {

namespace {

constexpr unsigned WHITEOUT = 4;

struct Named {
  std::string what;
  mode_t mode = 0;
  bool timesDiffer = false, onlyLocalMoves = true;
};

std::vector<Named> namedBy(const Answer& local, const Answer& cairn) {
  // What a step named, and whether its times moved alike. Both have the same attributes.
  std::vector<Named> all;
  std::istringstream attributes(local.attributes);
  std::string part;
  for (size_t i = 0; std::getline(attributes >> std::ws, part, ';'); i += 2) {
    Named named{.what = part.substr(0, part.find(' '))};
    if (auto mode = part.find("mode "); mode != std::string::npos)
      named.mode = mode_t(std::stoul(part.substr(mode + 5), nullptr, 8));
    for (auto at : {i, i + 1}) {
      if (at >= local.times.size() || at >= cairn.times.size() || local.times[at] == cairn.times[at])
        continue;
      named.timesDiffer = true;
      named.onlyLocalMoves &= local.times[at] == '+';
    }
    all.push_back(named);
  }
  return all;
}

template <typename Condition>
bool differInTimesOnly(const Answer& local, const Answer& cairn, Condition mayDiffer) {
  if (local.result != cairn.result || local.attributes != cairn.attributes) return false;
  for (auto& named : namedBy(local, cairn)) {
    if (named.timesDiffer && !mayDiffer(named)) return false;
  }
  return local.times.size() == cairn.times.size();
}

const AllowedDifference REFUSED_WHITEOUT = {
    "times of the directories, after a rename with RENAME_WHITEOUT that is refused",
    "ext4 writes the whiteout's name first, and takes it back when it finds that it has to refuse; a call "
    "that "
    "fails changes nothing in POSIX"};

const AllowedDifference FIFO_TIMES = {
    "modification and change time of a FIFO",
    "what goes through a FIFO stays in the kernel, which does not tell a FUSE filesystem of it"};

const AllowedDifference EMPTY_CHOWN = {
    "chown(-1, -1) of a file with setuid or setgid by somebody who does not own it: 0, not EPERM",
    "the kernel has FUSE filesystems take setuid and setgid by themselves, and what it sends here is what it "
    "sends ahead of a write that is allowed; the file stays as it is in either case"};

}  // namespace

const AllowedDifference* allowedDifference(const Step& step, const Answer& local, const Answer& cairn) {
  bool isRefused = local.result.starts_with("errno ");
  auto isParent = [](const Named& named) { return named.what.ends_with("/..") && named.onlyLocalMoves; };
  if (step.call == Call::RENAME && step.renameFlags() == WHITEOUT && isRefused &&
      differInTimesOnly(local, cairn, isParent)) {
    return &REFUSED_WHITEOUT;
  }
  if (differInTimesOnly(local, cairn, [](const Named& named) { return S_ISFIFO(named.mode); }))
    return &FIFO_TIMES;
  bool isChown = step.call == Call::CHOWN || step.call == Call::FCHOWN;
  if (isChown && step.user != 0 && step.changesNoOwner() && local.result == "errno 1" &&
      cairn.result == "0" && local.attributes == cairn.attributes &&
      (namedBy(local, cairn).at(0).mode & (S_ISUID | S_ISGID)) != 0) {
    return &EMPTY_CHOWN;
  }
  return nullptr;
}

}  // namespace cairn::e2e
