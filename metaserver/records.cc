// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/records.h"

#include <kj/debug.h>
#include <kj/encoding.h>

#include "metaserver/keys.h"

namespace cairn {

namespace {

class Writer {
 public:
  explicit Writer(uint8_t format = RECORD_FORMAT) { number(format); }

  template <typename T>
  void number(T value) {
    char buffer[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) buffer[i] = static_cast<char>(uint64_t(value) >> (8 * i));
    out.append(buffer, sizeof(T));
  }
  template <typename Tag, typename Rep>
  void number(Strong<Tag, Rep> value) {
    number(value.value());
  }
  void text(std::string_view value) {
    number(uint32_t(value.size()));
    out.append(value);
  }
  std::string done() { return std::move(out); }

 private:
  std::string out;
};

class Reader {
  // Fields that a shorter, older record does not have keep their defaults.
 public:
  Reader(std::string_view bytes, kj::StringPtr what, uint8_t known = RECORD_FORMAT) : rest(bytes) {
    uint8_t format = 0;
    number(format);
    KJ_REQUIRE(
        format == known,
        "the namespace store has a record of a format this program does not know; start the version of "
        "CairnFS that wrote it, or a newer one",
        what, format);
  }

  template <typename T>
  void number(T& value) {
    if (rest.size() < sizeof(T)) {
      rest = {};
      return;
    }
    uint64_t result = 0;
    for (size_t i = 0; i < sizeof(T); ++i) result |= uint64_t(uint8_t(rest[i])) << (8 * i);
    value = static_cast<T>(result);
    rest.remove_prefix(sizeof(T));
  }
  template <typename Tag, typename Rep>
  void number(Strong<Tag, Rep>& value) {
    Rep raw = value.value();
    number(raw);
    value = Strong<Tag, Rep>(raw);
  }
  std::string_view text() {
    uint32_t size = 0;
    number(size);
    KJ_REQUIRE(size <= rest.size(), "a record of the namespace store is cut short");
    auto result = rest.substr(0, size);
    rest.remove_prefix(size);
    return result;
  }
  std::string_view all() const { return rest; }

 private:
  std::string_view rest;
};

// The two halves of a codec are one list of fields, visited with a Writer or a Reader.
template <typename Codec, typename Target>
void visitAttributes(Codec& codec, Target& attributes) {
  codec.number(attributes.type);
  codec.number(attributes.mode);
  codec.number(attributes.uid);
  codec.number(attributes.gid);
  codec.number(attributes.links);
  codec.number(attributes.size);
  codec.number(attributes.atime);
  codec.number(attributes.mtime);
  codec.number(attributes.ctime);
  codec.number(attributes.device);
  codec.number(attributes.replicas);
  codec.number(attributes.dataVersion);
}

template <typename Codec, typename Target>
void visitInode(Codec& codec, Target& inode) {
  visitAttributes(codec, inode.attributes);
  codec.number(inode.parent);
  codec.number(inode.chunks);
  codec.number(inode.chunksEnd);
  codec.number(inode.xattrBytes);
  codec.number(inode.xattrNames);
  codec.number(inode.attributes.extended);
  codec.number(inode.zeroBlocks);
  codec.number(inode.born);
  codec.number(inode.trashKeep);
  codec.number(inode.marks);
}

template <typename Codec, typename Target>
void visitChunk(Codec& codec, Target& chunk) {
  codec.number(chunk.version);
  codec.number(chunk.floor);
  codec.number(chunk.references);
  codec.number(chunk.validBytes);
  codec.number(chunk.replicas);
  codec.number(chunk.zeroBlocks);
  codec.number(chunk.lostAt);
  codec.number(chunk.uncovered);
}

template <typename Codec, typename Target>
void visitState(Codec& codec, Target& state) {
  codec.number(state.cluster.high);
  codec.number(state.cluster.low);
  codec.number(state.applied);
  codec.number(state.epoch);
  codec.number(state.nextInode);
  codec.number(state.nextSession);
  codec.number(state.nextServer);
  codec.number(state.nextHandle);
  codec.number(state.inodes);
  codec.number(state.chunks);
  codec.number(state.garbage);
  codec.number(state.orphans);
  codec.number(state.replicas);
  codec.number(state.trash);
  codec.number(state.trashBytes);
  codec.number(state.trashKeep);
  codec.number(state.trashAge);
  codec.number(state.quotas);
  codec.number(state.counting);
  codec.number(state.counted);
  codec.number(state.toCount);
  codec.number(state.restored);
  codec.number(state.restoredFloor);
  codec.number(state.mendedAsOf);
  codec.number(state.mendedAt);
  codec.number(state.skippedFrom);
  codec.number(state.skippedEnd);
  codec.number(state.boot);
}

template <typename Codec, typename Target>
void visitUsage(Codec& codec, Target& usage) {
  codec.number(usage.inodes);
  codec.number(usage.bytes);
  codec.number(usage.trashInodes);
  codec.number(usage.trashBytes);
}

kj::String owned(std::string_view text) {
  return kj::heapString(text.data(), text.size());
}

}  // namespace

uint64_t bytesUsedBy(const Inode& inode) {
  uint64_t blocks = inode.chunks * BLOCKS_PER_CHUNK;
  return (blocks - kj::min(blocks, inode.zeroBlocks)) * BLOCK_SIZE;
}

std::string encode(const Inode& inode) {
  Writer writer;
  visitInode(writer, inode);
  return writer.done();
}

Inode decodeInode(InodeId id, std::string_view bytes) {
  Inode inode;
  Reader reader(bytes, "inode");
  visitInode(reader, inode);
  inode.attributes.inode = id;
  inode.attributes.bytesUsed = bytesUsedBy(inode);
  if (inode.xattrBytes > 0)
    inode.attributes.extended |= rpc::HAS_XATTRS;  // also in a record from before there was a field
  return inode;
}

std::string encode(const ChunkRecord& chunk) {
  Writer writer;
  visitChunk(writer, chunk);
  return writer.done();
}

ChunkRecord decodeChunk(std::string_view bytes) {
  ChunkRecord chunk;
  Reader reader(bytes, "chunk");
  visitChunk(reader, chunk);
  return chunk;
}

std::string encode(const ChunkReference& reference) {
  Writer writer;
  writer.number(reference.handle);
  if (reference.validBytes != ALL_BYTES_VALID) writer.number(reference.validBytes);
  return writer.done();
}

ChunkReference decodeReference(ChunkIndex index, std::string_view bytes) {
  ChunkReference reference;
  reference.index = index;
  Reader reader(bytes, "place of a file");
  reader.number(reference.handle);
  reader.number(reference.validBytes);
  return reference;
}

// ---------------------------------------------------------------------------------------------------------------
// Names: format, then for each entry: slot, type, inode, length of the name (one byte), name

std::string_view NameBucket::content() const {
  if (bytes.empty()) return {};
  return Reader(bytes, "name").all();
}

NamedInode NameBucket::next(std::string_view& rest) {
  KJ_REQUIRE(rest.size() > 11, "an entry of a directory is cut short");
  NamedInode entry;
  entry.slot = uint8_t(rest[0]);
  entry.type = static_cast<FileType>(uint8_t(rest[1]));
  uint64_t inode = 0;
  for (int i = 0; i < 8; ++i) inode |= uint64_t(uint8_t(rest[2 + i])) << (8 * i);
  entry.inode = InodeId(inode);
  size_t length = uint8_t(rest[10]);
  KJ_REQUIRE(rest.size() >= 11 + length, "a name in a directory is cut short");
  entry.name = rest.substr(11, length);
  rest.remove_prefix(11 + length);
  return entry;
}

namespace {
void append(std::string& bucket, const NamedInode& entry) {
  bucket += static_cast<char>(entry.slot);
  bucket += static_cast<char>(entry.type);
  for (int i = 0; i < 8; ++i) bucket += static_cast<char>(entry.inode.value() >> (8 * i));
  bucket += static_cast<char>(entry.name.size());
  bucket += entry.name;
}

std::string_view viewOf(kj::StringPtr text) {
  return {text.begin(), text.size()};
}
}  // namespace

kj::Maybe<NamedInode> NameBucket::find(kj::StringPtr name) const {
  for (auto rest = content(); !rest.empty();) {
    auto entry = next(rest);
    if (entry.name == viewOf(name)) return entry;
  }
  return nullptr;
}

kj::Maybe<std::string> NameBucket::with(kj::StringPtr name, InodeId inode, FileType type) const {
  std::string result(1, static_cast<char>(RECORD_FORMAT));
  uint32_t taken = 0;
  bool found = false;
  forEach([&](NamedInode entry) {
    taken |= 1u << entry.slot;
    if (entry.name == viewOf(name)) {
      entry.inode = inode;
      entry.type = type;
      found = true;
    }
    append(result, entry);
  });
  if (!found) {
    uint8_t slot = 0;
    while (slot < SLOTS_PER_HASH && (taken & 1u << slot) != 0) ++slot;
    if (slot == SLOTS_PER_HASH) return nullptr;
    append(result, {viewOf(name), inode, type, slot});
  }
  return result;
}

std::string NameBucket::without(kj::StringPtr name) const {
  std::string result(1, static_cast<char>(RECORD_FORMAT));
  forEach([&](NamedInode entry) {
    if (entry.name != viewOf(name)) append(result, entry);
  });
  if (result.size() == 1) result.clear();
  return result;
}

// ---------------------------------------------------------------------------------------------------------------
// Deleted files

namespace {
void writeDeparture(Writer& writer, const Departure& departure) {
  writer.number(departure.directory);
  writer.number(departure.uid);
  writer.number(departure.deleted);
  writer.text(departure.name);
}

void readDeparture(Reader& reader, Departure& departure) {
  reader.number(departure.directory);
  reader.number(departure.uid);
  reader.number(departure.deleted);
  departure.name = reader.text();
}
}  // namespace

std::string encode(const OrphanRecord& orphan) {
  Writer writer(ORPHAN_FORMAT);
  writer.number(uint8_t(orphan.linkable == Linkable::YES));
  writer.number(orphan.departure.until);
  writeDeparture(writer, orphan.departure);
  return writer.done();
}

OrphanRecord decodeOrphan(std::string_view bytes) {
  OrphanRecord orphan;
  if (!bytes.empty() && uint8_t(bytes[0]) == RECORD_FORMAT) {
    orphan.linkable = bytes.size() > 1 ? Linkable::YES : Linkable::NO;
    return orphan;
  }
  Reader reader(bytes, "orphan", ORPHAN_FORMAT);
  uint8_t linkable = 0;
  reader.number(linkable);
  orphan.linkable = linkable ? Linkable::YES : Linkable::NO;
  reader.number(orphan.departure.until);
  readDeparture(reader, orphan.departure);
  return orphan;
}

std::string encode(const Departure& departure) {
  Writer writer;
  writeDeparture(writer, departure);
  return writer.done();
}

Departure decodeDeparture(int64_t until, std::string_view bytes) {
  Departure departure;
  Reader reader(bytes, "trash");
  readDeparture(reader, departure);
  departure.until = until;
  return departure;
}

std::string encode(const Whereabouts& directory) {
  Writer writer;
  writer.number(directory.needed);
  writer.number(directory.parent);
  writer.text(directory.name);
  return writer.done();
}

Whereabouts decodeWhereabouts(std::string_view bytes) {
  Whereabouts directory;
  Reader reader(bytes, "whereabouts");
  reader.number(directory.needed);
  reader.number(directory.parent);
  directory.name = reader.text();
  return directory;
}

// ---------------------------------------------------------------------------------------------------------------
// Usage and quotas

std::string encode(const Usage& usage) {
  Writer writer;
  visitUsage(writer, usage);
  return writer.done();
}

Usage decodeUsage(std::string_view bytes) {
  Usage usage;
  Reader reader(bytes, "usage");
  visitUsage(reader, usage);
  return usage;
}

std::string encode(const QuotaLimits& limits) {
  Writer writer;
  writer.number(limits.bytes);
  writer.number(limits.inodes);
  return writer.done();
}

QuotaLimits decodeQuota(std::string_view bytes) {
  QuotaLimits limits;
  Reader reader(bytes, "quota");
  reader.number(limits.bytes);
  reader.number(limits.inodes);
  return limits;
}

std::string encode(const Backlinks& links) {
  Writer writer;
  for (auto& link : links) {
    writer.number(link.directory);
    writer.number(link.names);
  }
  return writer.done();
}

Backlinks decodeBacklinks(std::string_view bytes) {
  Backlinks links;
  for (Reader reader(bytes, "backlinks"); !reader.all().empty();) {
    auto& link = links.emplace_back();
    reader.number(link.directory);
    reader.number(link.names);
  }
  return links;
}

std::string encode(const StagingRecord& staging) {
  Writer writer;
  writer.number(staging.original);
  writer.number(staging.directory);
  writer.number(staging.inodes);
  writer.number(static_cast<uint8_t>(staging.stage));
  return writer.done();
}

StagingRecord decodeStaging(std::string_view bytes) {
  StagingRecord staging;
  Reader reader(bytes, "staging");
  reader.number(staging.original);
  reader.number(staging.directory);
  reader.number(staging.inodes);
  uint8_t stage = 0;
  reader.number(stage);
  staging.stage = static_cast<StagingRecord::Stage>(stage);
  return staging;
}

std::string encode(const StagedWork& work) {
  Writer writer;
  writer.number(work.source);
  writer.number(work.at);
  return writer.done();
}

StagedWork decodeStagedWork(InodeId inode, std::string_view bytes) {
  StagedWork work;
  Reader reader(bytes, "staged work");
  work.inode = inode;
  reader.number(work.source);
  reader.number(work.at);
  return work;
}

// ---------------------------------------------------------------------------------------------------------------

namespace {
void writeMaybe(Writer& writer, const kj::Maybe<Attributes>& maybe) {
  KJ_IF_MAYBE (attributes, maybe) {
    writer.number(uint8_t(1));
    writer.number(attributes->inode);
    writer.number(attributes->bytesUsed);
    visitAttributes(writer, *attributes);
  } else {
    writer.number(uint8_t(0));
  }
}

kj::Maybe<Attributes> readMaybe(Reader& reader) {
  uint8_t present = 0;
  reader.number(present);
  if (present == 0) return nullptr;
  Attributes attributes;
  reader.number(attributes.inode);
  reader.number(attributes.bytesUsed);
  visitAttributes(reader, attributes);
  return attributes;
}

uint8_t extendedOf(const kj::Maybe<Attributes>& maybe) {
  KJ_IF_MAYBE (attributes, maybe) return attributes->extended;
  return 0;
}

void readExtended(Reader& reader, kj::Maybe<Attributes>& maybe) {
  uint8_t extended = 0;
  reader.number(extended);
  KJ_IF_MAYBE (attributes, maybe) attributes->extended = extended;
}
}  // namespace

std::string encode(const Answer& answer) {
  const Outcome& outcome = answer.outcome;
  Writer writer;
  writer.number(answer.answered);
  writer.number(static_cast<uint16_t>(outcome.status));
  writer.number(outcome.index);
  writeMaybe(writer, outcome.attributes);
  writeMaybe(writer, outcome.parent);
  writer.number(outcome.replaced);
  writer.number(outcome.orphan);
  writer.number(outcome.cut);
  writer.number(extendedOf(outcome.attributes));
  writer.number(extendedOf(outcome.parent));
  return writer.done();
}

Answer decodeAnswer(std::string_view bytes) {
  Answer answer;
  Outcome& outcome = answer.outcome;
  Reader reader(bytes, "answer");
  reader.number(answer.answered);
  uint16_t status = 0;
  reader.number(status);
  outcome.status = static_cast<Status>(status);
  reader.number(outcome.index);
  outcome.attributes = readMaybe(reader);
  outcome.parent = readMaybe(reader);
  reader.number(outcome.replaced);
  reader.number(outcome.orphan);
  reader.number(outcome.cut);
  readExtended(reader, outcome.attributes);
  readExtended(reader, outcome.parent);
  return answer;
}

std::string encode(const SessionRecord& session) {
  Writer writer;
  writer.text(viewOf(session.host));
  writer.text(viewOf(session.name));
  writer.number(session.opened);
  return writer.done();
}

SessionRecord decodeSession(SessionId id, std::string_view bytes) {
  SessionRecord session;
  Reader reader(bytes, "session");
  session.id = id;
  session.host = owned(reader.text());
  session.name = owned(reader.text());
  reader.number(session.opened);
  return session;
}

std::string encode(const NamespaceState& state) {
  Writer writer;
  writer.number(state.format);
  visitState(writer, state);
  return writer.done();
}

NamespaceState decodeState(std::string_view bytes) {
  Reader reader(bytes, "state");
  uint32_t format = 0;
  reader.number(format);
  if (format < 1 || format > NAMESPACE_FORMAT) {
    kj::throwFatalException(KJ_EXCEPTION(
        FAILED,
        kj::str("the namespace store has format ", format, ", this program knows ", NAMESPACE_FORMAT,
                ". Nothing was changed. Start the version of CairnFS that wrote it, or a newer one.")));
  }
  NamespaceState state;
  state.format = format;
  visitState(reader, state);
  return state;
}

std::string encodeNumber(uint64_t number) {
  Writer writer;
  writer.number(number);
  return writer.done();
}

uint64_t decodeNumber(std::string_view bytes) {
  uint64_t number = 0;
  Reader(bytes, "number").number(number);
  return number;
}

std::string encodeBytes(kj::ArrayPtr<const kj::byte> bytes) {
  std::string result(1, static_cast<char>(RECORD_FORMAT));
  result.append(bytes.asChars().begin(), bytes.size());
  return result;
}

std::string_view decodeBytes(std::string_view bytes) {
  return Reader(bytes, "bytes").all();
}

// ---------------------------------------------------------------------------------------------------------------

namespace {
kj::String describe(const Attributes& attributes) {
  return kj::str(static_cast<uint16_t>(attributes.type), " mode ", attributes.mode, " uid ", attributes.uid,
                 " gid ", attributes.gid, " links ", attributes.links, " size ", attributes.size, " used ",
                 attributes.bytesUsed, " times ", attributes.atime, ' ', attributes.mtime, ' ',
                 attributes.ctime, " device ", attributes.device, " replicas ", attributes.replicas,
                 " dataVersion ", attributes.dataVersion);
}

kj::String describe(const Outcome& outcome) {
  auto text = kj::str(outcome.status, " index ", outcome.index, " replaced ", outcome.replaced);
  KJ_IF_MAYBE (it, outcome.attributes) text = kj::str(text, " inode ", it->inode, ' ', describe(*it));
  KJ_IF_MAYBE (it, outcome.parent) text = kj::str(text, " in ", it->inode, ' ', describe(*it));
  return text;
}

kj::String describe(const NamespaceState& state) {
  return kj::str("cluster ", state.cluster, " applied ", state.applied, " epoch ", state.epoch, " nextInode ",
                 state.nextInode, " nextSession ", state.nextSession, " nextServer ", state.nextServer,
                 " nextHandle ", state.nextHandle, " inodes ", state.inodes, " chunks ", state.chunks,
                 " garbage ", state.garbage, " orphans ", state.orphans, " replicas ", state.replicas,
                 " trash ", state.trash, " of ", state.trashBytes, " bytes, kept ", state.trashKeep,
                 " s from age ", state.trashAge, " quotas ", state.quotas, " counting ",
                 static_cast<int>(state.counting), " counted ", state.counted, " to count ", state.toCount,
                 " skipped ", state.skippedFrom, " to ", state.skippedEnd, " boot ", state.boot);
}

kj::String describe(const Departure& departure) {
  if (departure.until == 0) return kj::str("not for the trash");
  return kj::str(kj::encodeCEscape(owned(departure.name)), " in ", departure.directory, ", deleted by ",
                 departure.uid, " at ", departure.deleted, ", kept until ", departure.until);
}

kj::StringPtr describe(StagingRecord::Stage stage) {
  switch (stage) {
    case StagingRecord::Stage::COPYING:
      return "being copied";
    case StagingRecord::Stage::LINKED:
      return "has its name";
    case StagingRecord::Stage::CLEARING:
      return "given up";
    case StagingRecord::Stage::DROPPING:
      return "being dropped";
  }
  return "of a stage that is not known";
}

kj::String describeNames(std::string_view value) {
  auto text = kj::str("");
  NameBucket(value).forEach([&](const NamedInode& entry) {
    text = kj::str(text, text.size() > 0 ? ", " : "", kj::encodeCEscape(owned(entry.name)), " -> inode ",
                   entry.inode, " type ", static_cast<uint16_t>(entry.type), " slot ", entry.slot);
  });
  return text;
}
}  // namespace

kj::String describeRecord(std::string_view key, std::string_view value) {
  KJ_REQUIRE(!key.empty());
  KeyReader reader(key);
  switch (static_cast<Table>(key[0])) {
    case Table::STATE:
      return kj::str("state ", describe(decodeState(value)));
    case Table::INODES: {
      auto inode = decodeInode(InodeId(reader.number()), value);
      return kj::str("inode ", inode.id(), ' ', describe(inode.attributes), " parent ", inode.parent,
                     " chunks ", inode.chunks, " to ", inode.chunksEnd, " xattrs ", inode.xattrBytes,
                     " born ", inode.born, " keep ", inode.trashKeep, " marks ", inode.marks);
    }
    case Table::NAMES: {
      auto parent = reader.number();
      return kj::str("name in ", parent, " at ", reader.number(), ": ", describeNames(value));
    }
    case Table::FILE_CHUNKS: {
      auto inode = reader.number();
      auto reference = decodeReference(ChunkIndex(reader.number()), value);
      auto valid =
          reference.validBytes == ALL_BYTES_VALID ? kj::str() : kj::str(" valid ", reference.validBytes);
      return kj::str("file ", inode, " chunk ", reference.index, " -> handle ", reference.handle, valid);
    }
    case Table::CHUNKS: {
      auto chunk = decodeChunk(value);
      return kj::str("chunk ", reader.number(), " version ", chunk.version, " floor ", chunk.floor,
                     " references ", chunk.references, " valid ", chunk.validBytes, " replicas ",
                     chunk.replicas, " zero blocks ", chunk.zeroBlocks, " lost at ", chunk.lostAt,
                     chunk.uncovered ? ", not covered by a sync" : "");
    }
    case Table::TARGETS:
      return kj::str("symlink ", reader.number(), " -> ", kj::encodeCEscape(owned(decodeBytes(value))));
    case Table::XATTRS: {
      auto inode = reader.number();
      auto content = decodeBytes(value);
      return kj::str("xattr of ", inode, ' ', kj::encodeCEscape(owned(reader.text())), " = ",
                     kj::encodeCEscape(owned(content)));
    }
    case Table::ORPHANS: {
      auto inode = reader.number();
      auto orphan = decodeOrphan(value);
      return kj::str("orphan ", inode, orphan.linkable == Linkable::YES ? " linkable: " : ": ",
                     describe(orphan.departure));
    }
    case Table::TRASH: {
      auto until = int64_t(reader.number());
      return kj::str("trash ", reader.number(), ": ", describe(decodeDeparture(until, value)));
    }
    case Table::USAGE: {
      auto usage = decodeUsage(value);
      return kj::str("usage of ", reader.number(), ": inodes ", usage.inodes, " bytes ", usage.bytes,
                     " in the trash ", usage.trashInodes, ' ', usage.trashBytes);
    }
    case Table::QUOTAS: {
      auto limits = decodeQuota(value);
      return kj::str("quota of ", reader.number(), ": bytes ", limits.bytes, " inodes ", limits.inodes);
    }
    case Table::COUNT: {
      auto inode = reader.number();
      return kj::str("to be counted ", inode, " from place ", decodeNumber(value));
    }
    case Table::BACKLINKS: {
      auto text = kj::str("names of ", reader.number(), ":");
      for (auto& link : decodeBacklinks(value)) text = kj::str(text, ' ', link.names, " in ", link.directory);
      return text;
    }
    case Table::WHEREABOUTS: {
      auto inode = reader.number();
      auto directory = decodeWhereabouts(value);
      return kj::str("whereabouts of ", inode, ": needed ", directory.needed, ", ",
                     directory.parent ? kj::str("gone, was ", kj::encodeCEscape(owned(directory.name)),
                                                " in ", directory.parent)
                                      : kj::str("there"));
    }
    case Table::STAGINGS: {
      auto top = reader.number();
      auto staging = decodeStaging(value);
      return kj::str("staging ", top, ": of ", staging.original, " for directory ", staging.directory, ", ",
                     staging.inodes, " inodes, ", describe(staging.stage));
    }
    case Table::STAGED_WORK: {
      auto top = reader.number();
      auto work = decodeStagedWork(InodeId(reader.number()), value);
      return kj::str("work of staging ", top, ": ", work.inode, " from ", work.source, " at ", work.at);
    }
    case Table::STAGED_LINKS: {
      auto top = reader.number();
      return kj::str("link of staging ", top, ": of ", reader.number(), " is ", decodeNumber(value));
    }
    case Table::GARBAGE:
      return kj::str("garbage ", reader.number(), " up to version ", decodeNumber(value));
    case Table::SESSIONS: {
      auto session = decodeSession(SessionId(reader.number()), value);
      return kj::str("session ", session.id, " of ", session.host, ' ', session.name, " since ",
                     session.opened);
    }
    case Table::ANSWERS: {
      auto session = reader.number();
      auto answer = decodeAnswer(value);
      return kj::str("answer of session ", session, " to ", reader.number(), " (answered ", answer.answered,
                     "): ", describe(answer.outcome));
    }
    case Table::STORES: {
      auto number = decodeNumber(value);
      return kj::str("store ", owned(reader.text()), " is server ", uint32_t(number),
                     number & STORE_DRAINING ? ", to be drained" : "");
    }
  }
  return kj::str("unknown record ", kj::encodeHex(kj::arrayPtr(key.data(), key.size()).asBytes()));
}

}  // namespace cairn
