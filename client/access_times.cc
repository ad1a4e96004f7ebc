// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "client/access_times.h"

#include "client/session.h"

namespace cairn::client {

namespace {

constexpr kj::Duration PUBLISH_INTERVAL = 1 * kj::SECONDS;
constexpr size_t BATCH_MAX = 10000;  // inodes in one operation
constexpr int64_t DAY_NS = int64_t(24) * 3600 * 1'000'000'000;

}  // namespace

bool isAccessDue(const FileAttributes& attributes, Timestamp read) {
  auto atime = attributes.atime.ns;
  if (read.ns <= atime) return false;
  return atime <= attributes.mtime.ns || atime <= attributes.ctime.ns || read.ns - atime >= DAY_NS;
}

AccessTimes::AccessTimes(kj::Timer& timer, const kj::Clock& clock, Session& session, env::Logger log,
                         Told told)
    : timer(timer), clock(clock), session(session), log(kj::mv(log)), told(kj::mv(told)), tasks(*this) {}

void AccessTimes::read(const FileAttributes& attributes) {
  if (!isDue(attributes)) return;
  untold[attributes.inode] = now();
  if (armed) return;
  armed = true;
  tasks.add(publishLater());
}

bool AccessTimes::isDue(const FileAttributes& attributes) const {
  auto shown = attributes;
  overlay(shown);
  return isAccessDue(shown, now());
}

void AccessTimes::overlay(FileAttributes& attributes) const {
  for (auto times : {&telling, &untold}) {
    if (times->empty()) continue;
    auto found = times->find(attributes.inode);
    if (found != times->end() && isAccessDue(attributes, found->second)) attributes.atime = found->second;
  }
}

Async<void> AccessTimes::publishLater() {
  co_await timer.afterDelay(PUBLISH_INTERVAL);
  co_await publish();
  armed = false;
  if (!untold.empty()) {
    armed = true;
    tasks.add(publishLater());
  }
}

Async<void> AccessTimes::publish() {
  while (!untold.empty() && telling.empty()) {
    while (!untold.empty() && telling.size() < BATCH_MAX) telling.insert(untold.extract(untold.begin()));
    auto outcome = co_await session.change([this](rpc::Change::Builder change) {
      auto list = change.initAccessed(unsigned(telling.size()));
      unsigned i = 0;
      for (auto& [inode, time] : telling) {
        list[i].setInode(inode.value());
        list[i++].setTime(time.ns);
      }
    });
    if (outcome.ok()) {
      for (auto& [inode, time] : telling) told(inode, time);
    } else {
      log.warning(telling.size(), " access times could not be told: ", outcome.status(), " -> dropped");
    }
    telling.clear();
  }
}

void AccessTimes::taskFailed(kj::Exception&& exception) {
  telling.clear();
  armed = false;
  log.error("access times could not be told: ", exception, " -> dropped");
}

}  // namespace cairn::client
