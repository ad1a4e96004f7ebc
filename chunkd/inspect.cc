// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "chunkd/inspect.h"

#include <kj/debug.h>
#include <rocksdb/env.h>
#include <string.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "chunkd/store_format.h"
#include "chunkd/store_index.h"
#include "env/checksum.h"
#include "env/worker.h"

namespace cairn {

namespace {

namespace fs = std::filesystem;
using Form = InspectOptions::Form;

bool readFile(const fs::path& path, std::vector<kj::byte>& bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  bytes.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return !file.bad();
}

kj::ArrayPtr<const kj::byte> viewOf(const std::vector<kj::byte>& bytes) {
  return kj::arrayPtr(bytes.data(), bytes.size());
}

std::string escaped(kj::StringPtr text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (uint8_t(c) < 0x20) {
      char code[8];
      snprintf(code, sizeof(code), "\\u%04x", c);
      result += code;
    } else {
      result += c;
    }
  }
  return result + "\"";
}

class Printer {
  // Nested fields as indented text or as JSON.
 public:
  Printer(std::ostream& out, Form form) : out(out), form(form) {}

  void open(kj::StringPtr name) { begin(name, '{'); }
  void openList(kj::StringPtr name) { begin(name, '['); }
  void close() {
    bool list = kinds.back() == '[';
    kinds.pop_back();
    if (form == Form::JSON) out << (list ? "]" : "}");
    first = false;
    if (kinds.empty() && form == Form::JSON) out << "\n";
  }
  void field(kj::StringPtr name, kj::StringPtr value) { put(name, escaped(value), value.cStr()); }
  void field(kj::StringPtr name, uint64_t value) { put(name, std::to_string(value), std::to_string(value)); }
  void flag(kj::StringPtr name, bool value) {
    if (form == Form::TEXT && !value) return;
    put(name, value ? "true" : "false", "yes");
  }

 private:
  std::ostream& out;
  Form form;
  std::string kinds;
  bool first = true;

  void separate() {
    if (form == Form::JSON && !first) out << ",";
    first = false;
  }
  void begin(kj::StringPtr name, char kind) {
    if (form == Form::JSON) {
      separate();
      if (!kinds.empty() && kinds.back() == '{') out << escaped(name) << ":";
      out << kind;
    } else if (name.size() > 0) {
      out << std::string(2 * kinds.size(), ' ') << name.cStr() << "\n";
    }
    kinds += kind;
    first = true;
  }
  void put(kj::StringPtr name, const std::string& json, const std::string& text) {
    if (form == Form::JSON) {
      separate();
      out << escaped(name) << ":" << json;
    } else {
      out << std::string(2 * kinds.size(), ' ') << name.cStr() << ": " << text << "\n";
    }
  }
};

struct Inspection {
  const InspectOptions& options;
  Printer printer;
  bool damaged = false;

  void damage(kj::StringPtr what) {
    damaged = true;
    printer.field("damage", what);
  }

  void chunkFiles(const fs::path& data, const fs::path& sums, bool bytesToo);
  void blocks(kj::ArrayPtr<const kj::byte> table, const std::vector<kj::byte>& bytes);
  void identity(const fs::path& directory);
  void intents(const fs::path& directory);
  void chunk(const fs::path& directory, ChunkHandle handle, const IndexRecord& record);
  bool store(const fs::path& directory, std::ostream& problems);
};

void Inspection::blocks(kj::ArrayPtr<const kj::byte> table, const std::vector<kj::byte>& bytes) {
  uint64_t bad = 0, zero = 0, firstBad = 0;
  size_t count = kj::max(table.size() / sizeof(uint32_t), env::blocksOf(bytes.size()));
  for (size_t block = 0; block < count; block++) {
    uint32_t word = 0;
    if ((block + 1) * sizeof(uint32_t) <= table.size())
      memcpy(&word, table.begin() + block * sizeof(uint32_t), 4);
    size_t start = kj::min(block * BLOCK_SIZE, bytes.size()), end = kj::min(start + BLOCK_SIZE, bytes.size());
    if (word == 0) zero++;
    if ((env::blockChecksum(viewOf(bytes).slice(start, end)) ^ env::ZERO_BLOCK_CRC) == word) continue;
    if (bad++ == 0) firstBad = block;
  }
  printer.field("blocks", count);
  printer.field("zeroBlocks", zero);
  printer.field("badBlocks", bad);
  if (bad > 0) damage(kj::str(bad, " blocks do not match their checksums, the first is ", firstBad));
}

void Inspection::chunkFiles(const fs::path& data, const fs::path& sums, bool bytesToo) {
  std::vector<kj::byte> bytes, table;
  std::error_code error;
  auto dataSize = fs::file_size(data, error);
  if (error) return damage(kj::str("the data file is missing: ", data.c_str()));
  printer.field("dataBytes", dataSize);
  if (!readFile(sums, table)) return damage(kj::str("the checksum file is missing: ", sums.c_str()));
  auto decoded = decodeSumHeader(viewOf(table));
  KJ_IF_MAYBE (header, decoded.header) {
    printer.field("sumCluster", kj::str(header->cluster));
    printer.field("sumHandle", header->handle.value());
    printer.field("sumVersion", header->version.value());
  } else {
    return damage(kj::str("the checksum file ", decoded.reason));
  }
  if (!bytesToo) return;
  if (!readFile(data, bytes)) return damage("the data file cannot be read");
  auto words = table.size() > SUM_HEADER_SIZE ? viewOf(table).slice(SUM_HEADER_SIZE, table.size()) : nullptr;
  blocks(words, bytes);
}

void Inspection::identity(const fs::path& directory) {
  std::vector<kj::byte> bytes;
  printer.open("identity");
  KJ_DEFER(printer.close());
  if (!readFile(directory / IDENTITY_PATH.cStr(), bytes)) return damage("there is no identity file");
  auto decoded = decodeIdentity(kj::heapString(viewOf(bytes).asChars().begin(), bytes.size()));
  KJ_IF_MAYBE (self, decoded.identity) {
    printer.field("format", STORE_FORMAT);
    printer.field("uuid", self->uuid);
    printer.field("cluster", kj::str(self->cluster));
    printer.field("server", self->server.value());
    printer.field("epoch", self->epoch.value());
    printer.field("boot", self->boot);
  } else {
    damage(kj::str("the identity file ", decoded.reason));
  }
}

void Inspection::intents(const fs::path& directory) {
  std::vector<kj::byte> bytes;
  printer.openList("intents");
  KJ_DEFER(printer.close());
  if (!readFile(directory / INTENTS_PATH.cStr(), bytes)) return;
  for (size_t at = 0; at + INTENT_SLOT_SIZE <= bytes.size(); at += INTENT_SLOT_SIZE) {
    IntentSlot slot;
    memcpy(&slot, bytes.data() + at, sizeof(slot));
    if (slot.kind == uint32_t(IntentKind::NONE)) continue;
    printer.open("intent");
    printer.field("slot", at / INTENT_SLOT_SIZE);
    printer.field("kind", slot.kind == uint32_t(IntentKind::WRITE) ? "write" : "truncate");
    printer.field("handle", slot.handle);
    printer.field("version", slot.version);
    printer.field("firstBlock", slot.firstBlock);
    printer.field("blocks", slot.count);
    printer.flag("whole", slot.count <= INTENT_BLOCKS_MAX && slot.crc == intentCrc(slot));
    printer.close();
  }
}

void Inspection::chunk(const fs::path& directory, ChunkHandle handle, const IndexRecord& record) {
  printer.open("chunk");
  printer.field("handle", handle.value());
  printer.field("version", record.version.value());
  printer.field("length", record.length);
  printer.flag("unsynced", record.has(UNSYNCED));
  printer.flag("suspect", record.has(SUSPECT));
  printer.flag("corrupt", record.has(CORRUPT));
  printer.flag("fresh", record.has(FRESH));
  printer.flag("created", record.has(CREATED));
  printer.flag("deleting", record.has(DELETING));
  bool bytesToo = options.check == InspectOptions::Check::BYTES || options.chunk != nullptr;
  fs::path data = directory / dataPath(handle).cStr(), sums = directory / sumPath(handle).cStr();
  if (record.has(CORRUPT)) {
    auto moved = directory / quarantinePath(handle, record.version, "data").cStr();
    if (fs::exists(moved)) data = moved;
    moved = directory / quarantinePath(handle, record.version, "sum").cStr();
    if (fs::exists(moved)) sums = moved;
    damaged = true;
  }
  bool empty = record.has(FRESH) && !record.has(CREATED) && !fs::exists(data);
  if (!empty) chunkFiles(data, sums, bytesToo);
  printer.close();
}

bool Inspection::store(const fs::path& directory, std::ostream& problems) {
  auto worker = env::newInlineWorker();
  auto indexPath = directory / INDEX_PATH.cStr();
  auto opened =
      StoreIndex::open(indexPath.c_str(), *rocksdb::Env::Default(), *worker, StoreIndex::Access::INSPECT);
  printer.open("");
  identity(directory);
  KJ_IF_MAYBE (index, opened.index) {
    printer.openList("chunks");
    for (auto& [handle, record] : index->get()->table()) {
      KJ_IF_MAYBE (wanted, options.chunk) {
        if (*wanted != handle) continue;
      }
      chunk(directory, handle, record);
    }
    printer.close();
    for (auto handle : index->get()->unreadable()) {
      damage(kj::str("the index record of chunk ", handle, " is not of format ", STORE_FORMAT));
    }
  } else {
    damage(kj::str("the index does not open: ", opened.reason));
  }
  intents(directory);
  printer.close();
  return true;
}

}  // namespace

int inspect(const InspectOptions& options, std::ostream& out, std::ostream& problems) {
  fs::path path = options.path.cStr();
  std::error_code error;
  Inspection inspection{options, Printer(out, options.form)};
  if (fs::is_directory(path, error)) {
    if (!fs::exists(path / IDENTITY_PATH.cStr(), error)) {
      problems << path.string() << " has no " << IDENTITY_PATH.cStr() << ": it is not a chunk store."
               << std::endl;
      return 2;
    }
    inspection.store(path, problems);
  } else if (path.extension() == ".sum" || path.extension() == ".data") {
    inspection.printer.open("");
    auto data = path, sums = path;
    inspection.chunkFiles(data.replace_extension(".data"), sums.replace_extension(".sum"), true);
    inspection.printer.close();
  } else {
    problems << path.string() << " is neither a store directory nor a chunk's .data or .sum file."
             << std::endl;
    return 2;
  }
  return inspection.damaged ? 1 : 0;
}

}  // namespace cairn
