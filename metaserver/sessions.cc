// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See sessions.h.
#include "metaserver/sessions.h"

#include "rpc/coroutine.h"
#include "rpc/deadline.h"

namespace cairn {

namespace {

constexpr kj::Duration CALLBACK_DEADLINE = 2 * kj::SECONDS;
// A program that has just found the name of a file, and opens it, gets it though another mount has removed
// the name meanwhile: as on a local disk, where nothing comes between the two.
constexpr kj::Duration OPENED_LATE = 2 * kj::SECONDS;
constexpr kj::Duration PURGE_DELAY = 20 * kj::MILLISECONDS;  // so that rm -r makes few operations of it
constexpr uint32_t PURGE_BATCH = 500;
constexpr uint32_t INVALIDATE_BATCH = 1000;

}  // namespace

Sessions::Sessions(OperationLog& log, const NamespaceReader& names, kj::Timer& timer, env::Logger logger)
    : operations(log), names(names), timer(timer), log(kj::mv(logger)), tasks(*this) {
  for (auto& record : names.sessions()) table.restored(record, timer.now());
}

void Sessions::taskFailed(kj::Exception&& exception) {
  log.error("session work ended with a bug: ", exception);
}

Async<Result<SessionId>> Sessions::begin(kj::String host, kj::String name,
                                         rpc::ClientCallback::Client callback, Told told) {
  auto operation = kj::heap<LoggedOperation>();
  auto open = operation->body().initOpenSession();
  open.setHost(host);
  open.setName(name);
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (!outcome.ok()) co_return outcome.status;
  auto durable = co_await operations.durable(outcome.index);
  if (!ok(durable)) co_return durable;
  SessionId id(outcome.number);
  table.opened(id, host, name, timer.now());
  lines.emplace(id, Line{kj::mv(callback), {}, Line::State::IDLE, ++generations, told});
  log.info("a client on ", name, " joins -> session ", id);
  co_return id;
}

Status Sessions::resume(SessionId id, kj::ArrayPtr<const InodeId> open, rpc::ClientCallback::Client callback,
                        Told told) {
  if (ending.count(id) > 0) return Status::SESSION_EXPIRED;
  auto unheld = table.resume(id, open, timer.now());
  if (!unheld.ok()) return unheld.status();
  lines.erase(id);
  lines.emplace(id, Line{kj::mv(callback), {}, Line::State::IDLE, ++generations, told});
  log.info("session ", id, " comes back -> resumed with ", open.size(), " open inodes");
  consider(*unheld);
  return Status::OK;
}

kj::Promise<void> Sessions::close(SessionId id) {
  return end(id, SessionEnd::CLOSED, "closed by its client");
}

kj::Promise<void> Sessions::fence(SessionId id, kj::StringPtr why) {
  return end(id, SessionEnd::FENCED, why);
}

kj::Maybe<rpc::ClientCallback::Client> Sessions::callback(SessionId id) {
  auto line = lines.find(id);
  if (line == lines.end()) return nullptr;
  return line->second.callback;
}

Async<void> Sessions::end(SessionId id, SessionEnd how, kj::StringPtr why) {
  if (!ending.insert(id).second) co_return;
  auto unheld = table.ended(id);  // from here on its calls are refused
  lines.erase(id);
  for (auto listener : listeners) listener->sessionEnded(id, how);
  log.info("session ", id, " ends, ", why, " -> ", unheld.size(), " inodes are held open by nobody now");
  auto operation = kj::heap<LoggedOperation>();
  operation->body().initCloseSession().setClosed(id.value());
  auto outcome = co_await operations.propose(kj::mv(operation));
  if (!outcome.ok() && outcome.status != Status::SESSION_EXPIRED) {
    log.error("the end of session ", id, " could not be logged: ", outcome.status,
              " -> it is refused all the same");
  }
  ending.erase(id);
  consider(unheld);
}

void Sessions::release(SessionId id, kj::ArrayPtr<const InodeId> inodes) {
  auto unheld = table.release(id, inodes);
  consider(unheld);
}

void Sessions::consider(kj::ArrayPtr<const InodeId> unheld) {
  for (auto inode : unheld) {
    auto found = names.inode(inode);
    if (found.ok() && found->attributes.links == 0 && !table.held(inode)) left(inode);
  }
}

void Sessions::orphaned(InodeId inode) {
  if (table.held(inode)) return;                         // consider() comes back to it
  if (names.isBoundForTrash(inode)) return left(inode);  // where it is looked for at once
  if (doomed.insert(inode).second) dying.push_back({inode, timer.now() + OPENED_LATE});
  wakePurge();
}

void Sessions::left(InodeId inode) {
  if (doomed.insert(inode).second) dying.push_front({inode, timer.now()});
  wakePurge();
}

void Sessions::wakePurge() {
  if (purging == Purge::SCHEDULED || dying.empty() || !table.everyoneKnown()) return;
  purging = Purge::SCHEDULED;
  tasks.add(purge());
}

Async<void> Sessions::purge() {
  co_await timer.afterDelay(PURGE_DELAY);
  while (!dying.empty() && table.everyoneKnown()) {
    if (dying.front().from > timer.now()) {
      co_await timer.atTime(dying.front().from + PURGE_DELAY);
      continue;  // others may have come before it
    }
    kj::Vector<InodeId> batch;
    while (!dying.empty() && dying.front().from <= timer.now() && batch.size() < PURGE_BATCH) {
      batch.add(dying.front().inode);
      doomed.erase(dying.front().inode);
      dying.pop_front();
    }
    for (;;) {
      kj::Vector<InodeId> free;
      for (auto inode : batch) {
        if (!table.held(inode)) free.add(inode);
      }
      auto operation = kj::heap<LoggedOperation>();
      auto list = operation->body().initPurge(free.size());
      for (size_t i = 0; i < free.size(); ++i) list.set(i, free[i].value());
      auto outcome = co_await operations.propose(kj::mv(operation));
      if (!outcome.ok()) {
        log.error("deleted files could not be purged: ", outcome.status, " -> tried again later");
        for (auto inode : batch) {
          if (doomed.insert(inode).second) dying.push_front({inode, timer.now()});
        }
        purging = Purge::IDLE;
        co_return;
      }
      if (outcome.more == More::NO) {
        for (auto listener : listeners) listener->purged(free);
        break;
      }
    }
  }
  purging = Purge::IDLE;
}

void Sessions::changed(InodeId inode, SessionId by) {
  for (auto other : table.othersHolding(inode, by)) {
    auto line = lines.find(other);
    if (line == lines.end() || line->second.told == Told::NO) continue;
    line->second.pending.insert(inode);
    if (line->second.state == Line::State::IDLE) {
      line->second.state = Line::State::CALLING;
      tasks.add(notify(other, line->second.generation));
    }
  }
}

Async<void> Sessions::notify(SessionId id, uint64_t generation) {
  for (;;) {
    auto line = lines.find(id);
    if (line == lines.end() || line->second.generation != generation) co_return;
    if (line->second.pending.empty()) {
      line->second.state = Line::State::IDLE;
      co_return;
    }
    auto& pending = line->second.pending;
    auto request = line->second.callback.invalidateRequest();
    auto inodes = request.initInodes(kj::min(pending.size(), size_t(INVALIDATE_BATCH)));
    for (uint32_t i = 0; i < inodes.size(); ++i) {
      inodes.set(i, pending.begin()->value());
      pending.erase(pending.begin());
    }
    try {
      kj::Promise<capnp::Response<rpc::ClientCallback::InvalidateResults>> sent = request.send();
      co_await withDeadline(timer, kj::mv(sent), CALLBACK_DEADLINE, kj::str("invalidate at session ", id));
    } catch (const kj::Exception& exception) {
      // It validates at its next open; what it has cached is a second old at the most.
      log.debug("session ", id, " did not take an invalidation (", exception.getDescription(),
                ") -> dropped");
    }
  }
}

Async<void> Sessions::fenceOverdue() {
  for (auto id : table.overdue(timer.now())) co_await fence(id, "silent for longer than its term");
}

Async<void> Sessions::run() {
  for (;;) {
    co_await timer.afterDelay(1 * kj::SECONDS);
    co_await fenceOverdue();
    if (table.everyoneKnown() && leftovers == Leftovers::UNSEEN) {
      // Once per start: files that lost their last name before it, whose holders did not come back.
      leftovers = Leftovers::SEEN;
      InodeId after;
      for (;;) {
        auto page = names.orphans(after, PURGE_BATCH);
        for (auto inode : page) {
          if (!table.held(inode)) left(inode);
        }
        if (page.size() < PURGE_BATCH) break;
        after = page[page.size() - 1];
      }
    }
    wakePurge();
  }
}

}  // namespace cairn
