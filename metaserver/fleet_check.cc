// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See fleet_check.h.
#include "metaserver/fleet_check.h"

#include <algorithm>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr size_t SUSPECTS_AT_A_TIME = 10'000;  // that wait for a second look
constexpr uint32_t CHUNKS_AT_A_TIME = 500;
constexpr kj::Duration REPORTS_MAX = 60 * kj::SECONDS;

Finding about(Trouble trouble, ChunkHandle chunk, ServerId server = ServerId()) {
  Finding finding;
  finding.trouble = trouble;
  finding.chunk = chunk;
  finding.server = server;
  return finding;
}

bool isSame(const Finding& a, const Finding& b) {
  // Numbers may have moved between the two looks.
  return a.trouble == b.trouble && a.chunk == b.chunk && a.server == b.server;
}

}  // namespace

std::vector<Finding> judgeReplicas(ChunkHandle chunk, const ChunkRecord& record,
                                   kj::ArrayPtr<const SeenReplica> replicas) {
  std::vector<Finding> findings;
  uint32_t good = 0, known = 0;
  for (auto& replica : replicas) {
    auto& facts = replica.facts;
    if (facts.version < record.floor || facts.version > record.version) continue;
    if (facts.state == ReplicaFacts::State::CORRUPT) {
      findings.push_back(about(Trouble::REPLICA_CORRUPT, chunk, facts.server));
      continue;
    }
    ++known;
    good += replica.store == SeenReplica::Store::ANSWERS;
  }
  if (known == 0 || good < record.replicas) {
    auto finding = about(known == 0 ? Trouble::CHUNK_MISSING : Trouble::CHUNK_UNDER, chunk);
    finding.found = good;
    finding.right = record.replicas;
    findings.push_back(finding);
  }
  return findings;
}

kj::Maybe<Finding> judgeForeign(ChunkHandle chunk, const ReplicaFacts& replica, const ChunkFacts& facts) {
  auto finding = about(Trouble::CHUNK_UNKNOWN, chunk, replica.server);
  finding.found = replica.version.value();
  switch (judge(chunk, replica.version, facts)) {
    case Verdict::UNKNOWN:
      return finding;
    case Verdict::KEPT:
      finding.trouble = Trouble::CHUNK_KEPT;
      return finding;
    case Verdict::AHEAD:
      finding.trouble = Trouble::CHUNK_AHEAD;
      return finding;
    case Verdict::KEEP:
    case Verdict::GARBAGE:
    case Verdict::STALE:
    case Verdict::NEWER:
      return nullptr;  // as it should be, or about to be
  }
  KJ_UNREACHABLE;
}

std::vector<Finding> judgeContents(ChunkHandle chunk, kj::ArrayPtr<const ServerId> servers,
                                   kj::ArrayPtr<const kj::Maybe<StoreOrders::Content>> contents) {
  std::vector<Finding> findings;
  const StoreOrders::Content* first = nullptr;
  for (size_t i = 0; i < contents.size(); ++i) {
    KJ_IF_MAYBE (content, contents[i]) {
      if (first == nullptr) {
        first = content;
      } else if (!(*content == *first)) {
        findings.push_back(about(Trouble::REPLICAS_DIFFER, chunk, servers[i]));
      }
    }
  }
  return findings;
}

Async<void> FleetCheck::run() {
  co_await checkRecords();
  currentStage = "chunks of no file"_kj;
  co_await checkForeign();
  currentStage = "files of the stores"_kj;
  co_await checkFiles();
  currentStage = "all bytes"_kj;
  if (options.data == FleetCheckOptions::Data::YES) co_await checkData();
}

std::vector<Finding> FleetCheck::look(ChunkHandle chunk) const {
  auto record = service.names.chunk(chunk);
  auto now = service.timer.now();
  std::vector<SeenReplica> seen;
  for (auto& replica : service.view.chunks.replicas(chunk)) {
    auto store = SeenReplica::Store::AWAY;
    KJ_IF_MAYBE (server, service.view.servers.find(replica.server)) {
      if (server->answers(now)) store = SeenReplica::Store::ANSWERS;
    }
    seen.push_back({replica, store});
  }
  std::vector<Finding> findings;
  KJ_IF_MAYBE (known, record) {
    if (service.grants.granting(chunk)) return findings;  // its versions are changing at this moment
    findings = judgeReplicas(chunk, *known, kj::arrayPtr(seen.data(), seen.size()));
  }
  for (auto& replica : seen) {
    KJ_IF_MAYBE (finding,
                 judgeForeign(chunk, replica.facts, service.survey.facts(chunk, replica.facts.server))) {
      findings.push_back(std::move(*finding));
    }
  }
  return findings;
}

Async<void> FleetCheck::confirm(std::vector<Finding>& suspects) {
  if (suspects.empty()) co_return;
  co_await service.timer.afterDelay(options.secondLook);
  auto patience = service.timer.now() + REPORTS_MAX;  // a store that has just come back tells what it holds
  while (service.view.moreMayCome(service.timer.now()) && service.timer.now() < patience) {
    co_await service.timer.afterDelay(options.secondLook);
  }
  std::vector<Finding> again;
  ChunkHandle looked;
  for (auto& suspect : suspects) {
    if (suspect.chunk != looked) again = look(suspect.chunk);
    looked = suspect.chunk;
    bool still =
        std::any_of(again.begin(), again.end(), [&](auto& finding) { return isSame(finding, suspect); });
    if (still) co_await sink.found(suspect);
  }
  suspects.clear();
}

Async<void> FleetCheck::checkRecords() {
  std::vector<Finding> suspects;
  uint64_t looked = 0;
  for (auto rows = scan.rows(Table::CHUNKS); rows.valid(); rows.next()) {
    for (auto& finding : look(ChunkHandle(rows.first()))) suspects.push_back(std::move(finding));
    if (suspects.size() >= SUSPECTS_AT_A_TIME) co_await confirm(suspects);
    if (++looked % CHUNKS_AT_A_TIME == 0) co_await sink.rest(CHUNKS_AT_A_TIME);
  }
  co_await confirm(suspects);
}

Async<void> FleetCheck::checkForeign() {
  std::vector<Finding> suspects;
  ChunkHandle after;
  for (bool more = true; more;) {
    auto handles = service.view.chunks.handlesAfter(after, CHUNKS_AT_A_TIME);
    more = handles.size() == CHUNKS_AT_A_TIME;
    for (auto handle : handles) {
      after = handle;
      if (service.names.chunk(handle) != nullptr) continue;
      for (auto& finding : look(handle)) suspects.push_back(std::move(finding));
    }
    if (suspects.size() >= SUSPECTS_AT_A_TIME) co_await confirm(suspects);
    co_await sink.rest(handles.size());
  }
  co_await confirm(suspects);
}

Async<void> FleetCheck::checkFiles() {
  std::vector<ServerId> servers;
  for (auto& [id, server] : service.view.servers.all()) servers.push_back(id);
  for (auto server : servers) co_await checkFilesOf(server);
}

Async<void> FleetCheck::checkFilesOf(ServerId server) {
  ChunkHandle after;
  for (;;) {
    auto answer = co_await service.orders.checkFiles(server, after, CHUNKS_AT_A_TIME);
    KJ_IF_MAYBE (first, answer) {
      if (!first->problems.empty()) {
        co_await service.timer.afterDelay(options.secondLook);
        auto again = co_await service.orders.checkFiles(server, after, CHUNKS_AT_A_TIME);
        KJ_IF_MAYBE (second, again) {
          for (auto& problem : first->problems) {
            bool still = std::any_of(second->problems.begin(), second->problems.end(), [&](auto& other) {
              return other.chunk == problem.chunk && other.text == problem.text;
            });
            if (!still) continue;
            auto finding =
                about(problem.chunk ? Trouble::DATA_FILE : Trouble::STRAY_FILE, problem.chunk, server);
            finding.name = problem.text;
            co_await sink.found(std::move(finding));
          }
        }
      }
      co_await sink.rest(first->checked);
      if (first->end) co_return;
      after = first->next;
    } else {
      auto finding = about(Trouble::STORE_SILENT, ChunkHandle(), server);
      finding.name = "its files could not be checked";
      co_await sink.found(std::move(finding));
      co_return;
    }
  }
}

Async<void> FleetCheck::checkData() {
  for (auto rows = scan.rows(Table::CHUNKS); rows.valid(); rows.next()) {
    ChunkHandle chunk(rows.first());
    co_await readReplicas(chunk);
    auto differing = co_await compareReplicas(chunk);
    if (!differing.empty()) {
      co_await service.timer.afterDelay(options.secondLook);
      auto again = co_await compareReplicas(chunk);
      for (auto& finding : differing) {
        bool still =
            std::any_of(again.begin(), again.end(), [&](auto& other) { return isSame(other, finding); });
        if (still) co_await sink.found(finding);
      }
    }
    co_await sink.rest(1);
  }
}

Async<void> FleetCheck::readReplicas(ChunkHandle chunk) {
  // By their stores, all at the same time. One that is damaged is quarantined there, as when scrubbing finds
  // it.
  auto record = service.names.chunk(chunk);
  if (record == nullptr) co_return;
  auto replicas = service.view.chunks.candidates(chunk, KJ_ASSERT_NONNULL(record));
  kj::Vector<kj::Promise<kj::Maybe<Status>>> questions;
  for (auto& replica : replicas) questions.add(service.orders.verify(replica.server, chunk, replica.version));
  auto answers = co_await kj::joinPromises(questions.releaseAsArray());
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].orDefault(Status::OK) != Status::CORRUPT) continue;
    auto facts = replicas[i];
    facts.state = ReplicaFacts::State::CORRUPT;
    service.view.chunks.put(chunk, facts);
    co_await sink.found(about(Trouble::REPLICA_CORRUPT, chunk, facts.server));
  }
}

Async<std::vector<Finding>> FleetCheck::compareReplicas(ChunkHandle chunk) {
  // Only at rest: while a lease runs they differ by what is under way.
  auto record = service.names.chunk(chunk);
  bool leased = service.view.leases.find(chunk) != nullptr || service.grants.granting(chunk);
  if (record == nullptr || leased) co_return std::vector<Finding>();
  auto version = KJ_ASSERT_NONNULL(record).version;
  std::vector<ServerId> servers;
  kj::Vector<kj::Promise<kj::Maybe<StoreOrders::Content>>> questions;
  for (auto& replica : service.view.chunks.candidates(chunk, KJ_ASSERT_NONNULL(record))) {
    if (replica.version != version || replica.state != ReplicaFacts::State::GOOD) continue;
    servers.push_back(replica.server);
    questions.add(service.orders.content(replica.server, chunk, version));
  }
  auto contents = co_await kj::joinPromises(questions.releaseAsArray());
  co_return judgeContents(chunk, kj::arrayPtr(servers.data(), servers.size()), contents);
}

}  // namespace cairn
