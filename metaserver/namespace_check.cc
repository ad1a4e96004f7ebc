// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See namespace_check.h.
#include "metaserver/namespace_check.h"

#include <algorithm>
#include <map>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr uint64_t ROWS_AT_A_TIME = 500;      // between two rests: a millisecond or two
constexpr size_t REACHABLE_KEPT = 1'000'000;  // directories that are remembered to lead to the root

}  // namespace

struct NamespaceCheck::Node {
  // An inode as its record has it, and as it is counted.
  Inode inode;
  uint64_t names = 0, entries = 0, subdirectories = 0, namedIn = 0;
  uint64_t chunks = 0, chunksEnd = 0, zeroBlocks = 0;
  uint32_t attributeBytes = 0, attributeNames = 0;
  bool target = false, orphan = false, trash = false, staged = false;
  Usage usage;
  uint64_t id() const { return inode.id().value(); }
};

class NamespaceCheck::Nodes {
  // Those of one pass: all inodes with numbers from `low` to `high`.
 public:
  std::vector<Node> list;
  uint64_t low = 0, high = UINT64_MAX;
  std::map<std::pair<uint64_t, uint64_t>, uint32_t>
      namesIn;  // inode, directory -> names; of those with Mark::LINKED

  bool covers(uint64_t id) const { return id >= low && id <= high; }
  Node* find(uint64_t id) {
    auto place = std::lower_bound(list.begin(), list.end(), id,
                                  [](auto& node, uint64_t wanted) { return node.id() < wanted; });
    return place != list.end() && place->id() == id ? &*place : nullptr;
  }
};

struct NamespaceCheck::Chunk {
  uint64_t handle = 0;
  ChunkRecord record;
  uint64_t places = 0;
};

class NamespaceCheck::Chunks {
 public:
  std::vector<Chunk> list;
  uint64_t low = 0, high = UINT64_MAX;
  bool covers(uint64_t handle) const { return handle >= low && handle <= high; }
  Chunk* find(uint64_t handle) {
    auto place = std::lower_bound(list.begin(), list.end(), handle,
                                  [](auto& chunk, uint64_t wanted) { return chunk.handle < wanted; });
    return place != list.end() && place->handle == handle ? &*place : nullptr;
  }
};

NamespaceCheck::NamespaceCheck(const NamespaceScan& scan, CheckSink& sink, NamespaceCheckOptions options)
    : scan(scan), sink(sink), options(options) {}
NamespaceCheck::~NamespaceCheck() noexcept(false) = default;

Async<void> NamespaceCheck::run() {
  co_await checkNodes();
  co_await checkChunks();
  co_await checkWhereabouts();
  co_await checkStagings();
  co_await checkAnswers();
  co_await checkCounters();
}

kj::Promise<void> NamespaceCheck::pace() {
  auto rows = sinceRest;
  sinceRest = 0;
  return sink.rest(rows);
}

kj::Promise<void> NamespaceCheck::tell(Trouble trouble, InodeId inode, uint64_t found, uint64_t right) {
  Finding finding;
  finding.trouble = trouble;
  finding.inode = inode;
  finding.found = found;
  finding.right = right;
  return sink.found(std::move(finding));
}

// -- inodes

Async<void> NamespaceCheck::checkNodes() {
  for (uint64_t low = 0;;) {
    Nodes nodes;
    nodes.low = low;
    {
      auto rows = scan.rows(Table::INODES, low);
      for (; rows.valid() && nodes.list.size() < options.passSize; rows.next()) {
        Node node;
        node.inode = decodeInode(InodeId(rows.first()), rows.value());
        nodes.list.push_back(std::move(node));
        ++totals.inodes;
        if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
      }
      if (rows.valid()) nodes.high = nodes.list.back().id();
    }
    co_await countNames(nodes);
    co_await countPlaces(nodes);
    co_await countExtras(nodes);
    co_await markNameless(nodes);
    co_await markStaged(nodes);
    if (scan.state().counting == Counting::DONE) co_await countUsage(nodes);
    co_await judge(nodes);
    if (nodes.high == UINT64_MAX) co_return;
    low = nodes.high + 1;
  }
}

Async<void> NamespaceCheck::countNames(Nodes& nodes) {
  uint64_t orphaned = 0;  // the directory whose entries have been told of
  for (auto rows = scan.rows(Table::NAMES); rows.valid(); rows.next()) {
    auto directory = rows.first();
    auto* in = nodes.covers(directory) ? nodes.find(directory) : nullptr;
    bool noDirectory = nodes.covers(directory) && (in == nullptr || !in->inode.attributes.isDirectory());
    if (noDirectory && orphaned != directory) {
      orphaned = directory;
      co_await tell(Trouble::NAMES_OF_NO_DIRECTORY, InodeId(directory));
    }
    std::vector<Finding> wrong;
    NameBucket(rows.value()).forEach([&](const NamedInode& entry) {
      bool isDirectory = entry.type == FileType::DIRECTORY;
      if (in != nullptr) {
        ++in->entries;
        in->subdirectories += isDirectory;
      }
      if (!nodes.covers(entry.inode.value())) return;
      Finding finding;
      finding.inode = entry.inode;
      finding.directory = InodeId(directory);
      finding.name = std::string(entry.name);
      auto* node = nodes.find(entry.inode.value());
      if (node == nullptr) {
        finding.trouble = Trouble::NAME_LEADS_NOWHERE;
        wrong.push_back(std::move(finding));
        return;
      }
      ++node->names;
      node->namedIn = directory;
      if (node->inode.has(LINKED)) ++nodes.namesIn[{node->id(), directory}];
      if (node->inode.attributes.type != entry.type) {
        finding.trouble = Trouble::NAME_OF_WRONG_TYPE;
        finding.found = uint64_t(entry.type);
        finding.right = uint64_t(node->inode.attributes.type);
        wrong.push_back(std::move(finding));
      }
    });
    for (auto& finding : wrong) co_await sink.found(std::move(finding));
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
}

Async<void> NamespaceCheck::countPlaces(Nodes& nodes) {
  for (auto rows = scan.rows(Table::FILE_CHUNKS, nodes.low); rows.valid() && nodes.covers(rows.first());
       rows.next()) {
    auto id = rows.first(), index = rows.second();
    auto reference = decodeReference(ChunkIndex(index), rows.value());
    auto* node = nodes.find(id);
    Finding finding;
    finding.inode = InodeId(id);
    finding.chunk = reference.handle;
    finding.found = index;
    finding.trouble = Trouble::PLACE_WITHOUT_FILE;
    if (node == nullptr) {
      co_await sink.found(finding);
      continue;
    }
    ++node->chunks;
    node->chunksEnd = index + 1;
    auto record = scan.get(Key(Table::CHUNKS, reference.handle.value()));
    if (record.has_value()) {
      node->zeroBlocks += reference.zeroBlocksIn(decodeChunk(*record));
    } else {
      finding.trouble = Trouble::PLACE_WITHOUT_RECORD;
      co_await sink.found(finding);
    }
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
}

Async<void> NamespaceCheck::countExtras(Nodes& nodes) {
  std::map<uint64_t, uint64_t> lost;  // rows of inodes that are not there
  for (auto rows = scan.rows(Table::XATTRS, nodes.low); rows.valid() && nodes.covers(rows.first());
       rows.next()) {
    if (auto* node = nodes.find(rows.first())) {
      auto key = rows.text(1);
      node->attributeBytes += uint32_t(key.size() + decodeBytes(rows.value()).size());
      node->attributeNames += uint32_t(key.size() + 1);
    } else {
      ++lost[rows.first()];
    }
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
  for (auto rows = scan.rows(Table::TARGETS, nodes.low); rows.valid() && nodes.covers(rows.first());
       rows.next()) {
    if (auto* node = nodes.find(rows.first())) {
      node->target = true;
    } else {
      ++lost[rows.first()];
    }
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
  for (auto [id, count] : lost) co_await tell(Trouble::ROWS_OF_NO_INODE, InodeId(id), count);
}

Async<void> NamespaceCheck::markNameless(Nodes& nodes) {
  for (auto rows = scan.rows(Table::ORPHANS, nodes.low); rows.valid() && nodes.covers(rows.first());
       rows.next()) {
    ++totals.orphans;
    auto* node = nodes.find(rows.first());
    if (node != nullptr) node->orphan = true;
    if (node == nullptr || node->names > 0) co_await tell(Trouble::ORPHAN_GONE, InodeId(rows.first()));
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
  for (auto rows = scan.rows(Table::TRASH); rows.valid(); rows.next()) {
    if (!nodes.covers(rows.second())) continue;
    ++totals.trash;
    auto* node = nodes.find(rows.second());
    if (node == nullptr) {
      co_await tell(Trouble::TRASH_GONE, InodeId(rows.second()), rows.first());
    } else {
      node->trash = true;
      totals.trashBytes += bytesUsedBy(node->inode);
    }
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
}

Async<void> NamespaceCheck::markStaged(Nodes& nodes) {
  // A snapshot in steps: until it has its name none leads to its top; when it is dropped, to none of the
  // directories that are still to be emptied.
  for (auto rows = scan.rows(Table::STAGINGS, nodes.low); rows.valid() && nodes.covers(rows.first());
       rows.next()) {
    auto* node = nodes.find(rows.first());
    auto stage = decodeStaging(rows.value()).stage;
    if (node != nullptr) node->staged = stage != StagingRecord::Stage::LINKED;
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
  for (auto rows = scan.rows(Table::STAGED_WORK); rows.valid(); rows.next()) {
    auto* node = nodes.covers(rows.second()) ? nodes.find(rows.second()) : nullptr;
    if (node != nullptr) node->staged = true;
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
}

Async<void> NamespaceCheck::countUsage(Nodes& nodes) {
  auto usages = scan.rows(Table::USAGE);
  for (auto rows = scan.rows(Table::INODES); rows.valid(); rows.next()) {
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    auto inode = decodeInode(InodeId(rows.first()), rows.value());
    if (!inode.has(COUNTED) || inode.id() == ROOT_INODE || !nodes.covers(inode.parent.value())) continue;
    auto* directory = nodes.find(inode.parent.value());
    if (directory == nullptr) continue;
    Usage itself{1, bytesUsedBy(inode), 0, 0};
    if (inode.has(TRASHED)) itself.trashInodes = itself.inodes, itself.trashBytes = itself.bytes;
    directory->usage += itself;
    if (!inode.attributes.isDirectory()) continue;
    while (usages.valid() && usages.first() < inode.id().value()) usages.next();
    if (usages.valid() && usages.first() == inode.id().value())
      directory->usage += decodeUsage(usages.value());
  }
}

bool NamespaceCheck::leadsToRoot(InodeId directory) {
  // Also when it leads to nothing: that is told of elsewhere.
  std::unordered_set<uint64_t> path;
  bool leads = true;
  for (auto id = directory; id != ROOT_INODE && reachable.count(id.value()) == 0;) {
    if (!path.insert(id.value()).second) {
      leads = false;
      break;
    }
    auto row = scan.get(Key(Table::INODES, id.value()));
    if (!row.has_value()) break;
    id = decodeInode(id, *row).parent;
  }
  if (!leads) return false;
  if (reachable.size() + path.size() > REACHABLE_KEPT) reachable.clear();
  reachable.insert(path.begin(), path.end());
  return true;
}

Async<void> NamespaceCheck::judge(Nodes& nodes) {
  auto state = scan.state();
  for (auto& node : nodes.list) {
    auto id = node.inode.id();
    auto& attributes = node.inode.attributes;
    if (!state.wasGiven(id)) {
      auto next = id < state.nextInode ? state.skippedFrom : state.nextInode;
      co_await tell(Trouble::NUMBER_NOT_GIVEN_OUT, id, id.value(), next.value());
    }
    bool nameless = node.names == 0 && id != ROOT_INODE;
    if (nameless && !node.orphan && !node.trash && !node.staged) co_await tell(Trouble::UNREACHABLE, id);
    if (node.inode.has(TRASHED) != node.trash)
      co_await tell(Trouble::TRASH_MARK, id, node.inode.has(TRASHED), node.trash);
    if (attributes.isDirectory()) {
      co_await judgeDirectory(node);
    } else {
      co_await judgeFile(node);
    }
    bool limited = scan.get(Key(Table::QUOTAS, id.value())).has_value();
    if (node.inode.has(QUOTA) != limited)
      co_await tell(Trouble::QUOTA_MARK, id, node.inode.has(QUOTA), limited);
    if (node.inode.xattrBytes != node.attributeBytes)
      co_await tell(Trouble::ATTRIBUTE_BYTES, id, node.inode.xattrBytes, node.attributeBytes);
    if (node.inode.xattrNames != node.attributeNames)
      co_await tell(Trouble::ATTRIBUTE_NAMES, id, node.inode.xattrNames, node.attributeNames);
    if (scan.state().counting == Counting::DONE) {
      if (attributes.isDirectory()) co_await judgeUsage(node);
      if (node.inode.has(LINKED)) co_await judgeBacklinks(nodes, node);
    }
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
}

Async<void> NamespaceCheck::judgeFile(const Node& node) {
  auto id = node.inode.id();
  auto& inode = node.inode;
  if (inode.attributes.links != node.names)
    co_await tell(Trouble::LINKS, id, inode.attributes.links, node.names);
  if (inode.chunks != node.chunks) co_await tell(Trouble::FILE_CHUNKS, id, inode.chunks, node.chunks);
  if (inode.zeroBlocks != node.zeroBlocks)
    co_await tell(Trouble::ZERO_BLOCKS, id, inode.zeroBlocks, node.zeroBlocks);
  if (inode.chunksEnd < node.chunksEnd)
    co_await tell(Trouble::CHUNKS_END, id, inode.chunksEnd, node.chunksEnd);
  bool symlink = inode.attributes.type == FileType::SYMLINK;
  if (symlink && !node.target) co_await tell(Trouble::SYMLINK_WITHOUT_TARGET, id);
}

Async<void> NamespaceCheck::judgeDirectory(const Node& node) {
  auto id = node.inode.id();
  auto& inode = node.inode;
  auto links = 2 + node.subdirectories;
  if (inode.attributes.links != links) co_await tell(Trouble::LINKS, id, inode.attributes.links, links);
  if (inode.attributes.size != node.entries)
    co_await tell(Trouble::DIRECTORY_SIZE, id, inode.attributes.size, node.entries);
  auto wanted = id == ROOT_INODE ? 0u : 1u;
  if (node.names > wanted) co_await tell(Trouble::SEVERAL_NAMES, id, node.names, wanted);
  if (node.names == 1 && wanted == 1 && inode.parent.value() != node.namedIn) {
    co_await tell(Trouble::PARENT, id, inode.parent.value(), node.namedIn);
  } else if (!leadsToRoot(id)) {
    co_await tell(Trouble::CYCLE, id);
  }
}

Async<void> NamespaceCheck::judgeUsage(const Node& node) {
  Usage known;
  auto row = scan.get(Key(Table::USAGE, node.id()));
  if (row.has_value()) known = decodeUsage(*row);
  auto id = node.inode.id();
  auto& right = node.usage;
  if (known.inodes != right.inodes) co_await tell(Trouble::USAGE_INODES, id, known.inodes, right.inodes);
  if (known.bytes != right.bytes) co_await tell(Trouble::USAGE_BYTES, id, known.bytes, right.bytes);
  if (known.trashInodes != right.trashInodes)
    co_await tell(Trouble::USAGE_TRASH_INODES, id, known.trashInodes, right.trashInodes);
  if (known.trashBytes != right.trashBytes)
    co_await tell(Trouble::USAGE_TRASH_BYTES, id, known.trashBytes, right.trashBytes);
}

Async<void> NamespaceCheck::judgeBacklinks(Nodes& nodes, const Node& node) {
  std::map<uint64_t, uint32_t> recorded;
  auto row = scan.get(Key(Table::BACKLINKS, node.id()));
  if (row.has_value()) {
    for (auto& link : decodeBacklinks(*row)) recorded[link.directory.value()] = link.names;
  }
  std::map<uint64_t, uint32_t> counted;
  for (auto it = nodes.namesIn.lower_bound({node.id(), 0});
       it != nodes.namesIn.end() && it->first.first == node.id(); ++it) {
    counted[it->first.second] = it->second;
    recorded.try_emplace(it->first.second, 0);
  }
  for (auto [directory, names] : recorded) {
    auto right = counted.count(directory) > 0 ? counted[directory] : 0;
    if (names == right) continue;
    Finding finding;
    finding.trouble = Trouble::BACKLINKS;
    finding.inode = node.inode.id();
    finding.directory = InodeId(directory);
    finding.found = names;
    finding.right = right;
    co_await sink.found(std::move(finding));
  }
}

// -- chunks

Async<void> NamespaceCheck::checkChunks() {
  auto next = scan.state().nextHandle;
  for (auto rows = scan.rows(Table::GARBAGE); rows.valid(); rows.next()) ++totals.garbage;
  for (uint64_t low = 0;;) {
    Chunks chunks;
    chunks.low = low;
    {
      auto rows = scan.rows(Table::CHUNKS, low);
      for (; rows.valid() && chunks.list.size() < options.passSize; rows.next()) {
        chunks.list.push_back({rows.first(), decodeChunk(rows.value()), 0});
        ++totals.chunks;
        if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
      }
      if (rows.valid()) chunks.high = chunks.list.back().handle;
    }
    for (auto rows = scan.rows(Table::FILE_CHUNKS); rows.valid(); rows.next()) {
      auto handle = decodeReference(ChunkIndex(rows.second()), rows.value()).handle.value();
      auto* chunk = chunks.covers(handle) ? chunks.find(handle) : nullptr;
      if (chunk != nullptr) ++chunk->places;
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
    for (auto& chunk : chunks.list) {
      Finding finding;
      finding.chunk = ChunkHandle(chunk.handle);
      finding.found = chunk.record.references;
      finding.right = chunk.places;
      finding.trouble = chunk.places == 0 ? Trouble::CHUNK_OF_NO_FILE : Trouble::REFERENCES;
      if (chunk.places != chunk.record.references || chunk.places == 0) co_await sink.found(finding);
      finding.found = chunk.record.floor.value();
      finding.right = chunk.record.version.value();
      finding.trouble = Trouble::FLOOR_ABOVE_VERSION;
      if (chunk.record.floor > chunk.record.version) co_await sink.found(finding);
      finding.found = chunk.handle;
      finding.right = next.value();
      finding.trouble = Trouble::NUMBER_NOT_GIVEN_OUT;
      if (finding.chunk >= next) co_await sink.found(finding);
      finding.found = finding.right = 0;
      finding.trouble = Trouble::CHUNK_AND_GARBAGE;
      if (scan.get(Key(Table::GARBAGE, chunk.handle)).has_value()) co_await sink.found(finding);
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
    if (chunks.high == UINT64_MAX) co_return;
    low = chunks.high + 1;
  }
}

// -- the small tables

Async<void> NamespaceCheck::checkWhereabouts() {
  // One row for each directory that something in the trash was in: passes of these as well.
  for (uint64_t low = 0, high = 0; high != UINT64_MAX; low = high + 1) {
    std::map<uint64_t, uint64_t> recorded, needed;
    auto rows = scan.rows(Table::WHEREABOUTS, low);
    for (; rows.valid() && recorded.size() < options.passSize; rows.next()) {
      recorded[rows.first()] = decodeWhereabouts(rows.value()).needed;
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
    high = rows.valid() ? recorded.rbegin()->first : UINT64_MAX;
    auto need = [&](InodeId directory) {
      if (directory && directory.value() >= low && directory.value() <= high) ++needed[directory.value()];
    };
    for (auto orphans = scan.rows(Table::ORPHANS); orphans.valid(); orphans.next()) {
      auto departure = decodeOrphan(orphans.value()).departure;
      if (departure.until > 0) need(departure.directory);
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
    for (auto trash = scan.rows(Table::TRASH); trash.valid(); trash.next()) {
      need(decodeDeparture(int64_t(trash.first()), trash.value()).directory);
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
    for (auto gone = scan.rows(Table::WHEREABOUTS); gone.valid(); gone.next()) {
      need(decodeWhereabouts(gone.value()).parent);
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
    for (auto [directory, count] : needed) recorded.try_emplace(directory, 0);
    for (auto [directory, count] : recorded) {
      auto right = needed.count(directory) > 0 ? needed[directory] : 0;
      if (count != right) co_await tell(Trouble::WHEREABOUTS, InodeId(directory), count, right);
    }
  }
}

Async<void> NamespaceCheck::checkStagings() {
  for (auto rows = scan.rows(Table::STAGINGS); rows.valid(); rows.next()) {
    // One that is being dropped loses its top long before it is gone.
    bool dropping = decodeStaging(rows.value()).stage == StagingRecord::Stage::DROPPING;
    bool isThere = dropping || scan.get(Key(Table::INODES, rows.first())).has_value();
    if (!isThere) co_await tell(Trouble::STAGING_GONE, InodeId(rows.first()));
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
  for (auto table : {Table::STAGED_WORK, Table::STAGED_LINKS}) {
    uint64_t told = 0;
    for (auto rows = scan.rows(table); rows.valid(); rows.next()) {
      auto top = rows.first();
      if (top != told && !scan.get(Key(Table::STAGINGS, top)).has_value()) {
        told = top;
        co_await tell(Trouble::STAGING_GONE, InodeId(top));
      }
      if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
    }
  }
}

Async<void> NamespaceCheck::checkAnswers() {
  uint64_t told = 0;
  for (auto rows = scan.rows(Table::ANSWERS); rows.valid(); rows.next()) {
    auto session = rows.first();
    if (session != told && !scan.get(Key(Table::SESSIONS, session)).has_value()) {
      told = session;
      co_await tell(Trouble::ANSWERS_OF_NO_SESSION, InodeId(), session);
    }
    if (++sinceRest >= ROWS_AT_A_TIME) co_await pace();
  }
}

Async<void> NamespaceCheck::checkCounters() {
  for (auto rows = scan.rows(Table::QUOTAS); rows.valid(); rows.next()) ++totals.quotas;
  for (auto rows = scan.rows(Table::COUNT); rows.valid(); rows.next()) ++totals.toCount;
  auto& state = scan.state();
  struct {
    Trouble trouble;
    uint64_t found, right;
  } counters[] = {
      {Trouble::COUNTER_INODES, state.inodes, totals.inodes},
      {Trouble::COUNTER_CHUNKS, state.chunks, totals.chunks},
      {Trouble::COUNTER_GARBAGE, state.garbage, totals.garbage},
      {Trouble::COUNTER_ORPHANS, state.orphans, totals.orphans},
      {Trouble::COUNTER_TRASH, state.trash, totals.trash},
      {Trouble::COUNTER_TRASH_BYTES, state.trashBytes, totals.trashBytes},
      {Trouble::COUNTER_QUOTAS, state.quotas, totals.quotas},
      {Trouble::COUNTER_TO_COUNT, state.toCount, totals.toCount},
  };
  for (auto& counter : counters) {
    if (counter.found != counter.right)
      co_await tell(counter.trouble, InodeId(), counter.found, counter.right);
  }
}

}  // namespace cairn
