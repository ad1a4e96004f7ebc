// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "rpc/backup_directory.h"

#include <kj/debug.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <sstream>

#include "env/checksum.h"

namespace cairn {

namespace {

constexpr const char* FIRST_LINE = "cairn metaserver backup";
constexpr kj::StringPtr MANIFEST = "BACKUP"_kj, MANIFEST_NEW = "BACKUP.new"_kj, NAMES = "names"_kj;

[[noreturn]] void refuse(kj::String sentence) {
  kj::throwFatalException(KJ_EXCEPTION(FAILED, kj::mv(sentence)));
}

std::string hex(uint32_t crc) {
  char text[16];
  snprintf(text, sizeof(text), "%08x", crc);
  return text;
}

uint32_t crcOf(const std::string& text) {
  return env::crc32c(kj::StringPtr(text.c_str(), text.size()).asBytes());
}

struct Line {
  // `key value...`
  std::string key;
  std::vector<std::string> values;
  explicit Line(const std::string& text) {
    std::istringstream words(text);
    words >> key;
    for (std::string word; words >> word;) values.push_back(word);
  }
};

class Parser {
 public:
  explicit Parser(kj::StringPtr path) : path(path) {}

  template <typename Number>
  Number number(const Line& line, size_t place = 0, int base = 10) const {
    Number value = 0;
    if (place >= line.values.size()) damaged();
    auto& text = line.values[place];
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) damaged();
    return value;
  }
  [[noreturn]] void damaged() const {
    refuse(kj::str(path, "/BACKUP is damaged. Nothing was changed. Take another backup of this cluster."));
  }

 private:
  kj::StringPtr path;
};

bool isFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c <= ' ' || c == 127; });
}

}  // namespace

std::string encode(const BackupManifest& manifest) {
  std::ostringstream text;
  text << FIRST_LINE << "\nformat " << BACKUP_FORMAT << "\ncluster " << kj::str(manifest.cluster).cStr()
       << "\noperation " << manifest.operation.value() << "\nepoch " << manifest.epoch.value() << "\ninodes "
       << manifest.inodes << "\nchunks " << manifest.chunks << "\ntaken " << manifest.taken << "\n";
  for (auto& file : manifest.files)
    text << "file " << file.name << " " << file.size << " " << hex(file.crc) << "\n";
  return text.str() + "crc " + hex(crcOf(text.str())) + "\n";
}

BackupManifest parseBackup(kj::StringPtr source, kj::StringPtr path) {
  std::string text(source.begin(), source.size());
  Parser parser(path);
  if (text.rfind(std::string(FIRST_LINE) + "\n", 0) != 0) {
    refuse(kj::str(path,
                   " is no backup of a metaserver (its file BACKUP says otherwise). Nothing was changed."));
  }
  auto last = text.rfind("crc ");
  if (last == std::string::npos || last == 0 || text[last - 1] != '\n') parser.damaged();
  bool whole = text.substr(last) == "crc " + hex(crcOf(text.substr(0, last))) + "\n";
  BackupManifest manifest;
  bool named = false;
  std::istringstream lines(text.substr(0, last));
  for (std::string one; std::getline(lines, one);) {
    Line line(one);
    if (line.key == "format" && parser.number<uint32_t>(line) > BACKUP_FORMAT) {
      refuse(kj::str(path, " has format ", parser.number<uint32_t>(line),
                     ", and this program knows formats up to ", BACKUP_FORMAT,
                     ". Nothing was changed. Restore it with a newer cairn-metaserver."));
    }
    if (!whole) continue;  // only the format may be believed
    if (line.key == "cluster" && line.values.size() == 1) {
      KJ_IF_MAYBE (id, parseClusterId(line.values[0].c_str())) {
        manifest.cluster = *id;
        named = true;
      }
    }
    if (line.key == "operation") manifest.operation = LogIndex(parser.number<uint64_t>(line));
    if (line.key == "epoch") manifest.epoch = Epoch(parser.number<uint64_t>(line));
    if (line.key == "inodes") manifest.inodes = parser.number<uint64_t>(line);
    if (line.key == "chunks") manifest.chunks = parser.number<uint64_t>(line);
    if (line.key == "taken") manifest.taken = parser.number<int64_t>(line);
    if (line.key != "file") continue;
    if (line.values.size() != 3 || !isFileName(line.values[0])) parser.damaged();
    manifest.files.push_back(
        {line.values[0], parser.number<uint64_t>(line, 1), parser.number<uint32_t>(line, 2, 16)});
  }
  if (!whole || !named || manifest.files.empty()) parser.damaged();
  return manifest;
}

// -- writing

BackupWriter::BackupWriter(kj::StringPtr pathParam)
    : path(kj::str(pathParam)), filesystem(kj::newDiskFilesystem()) {
  auto at = filesystem->getCurrentPath().evalNative(path);
  auto& root = filesystem->getRoot();
  KJ_IF_MAYBE (there, root.tryOpenSubdir(at)) {
    for (auto& name : (*there)->listNames()) {
      if (name == "lost+found") continue;
      refuse(kj::str(path, " is not empty (", name,
                     "). Nothing was changed. A backup wants a directory of its own."));
    }
  }
  auto made =
      root.tryOpenSubdir(at, kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::CREATE_PARENT);
  KJ_IF_MAYBE (opened, made) {
    directory = kj::mv(*opened);
  } else {
    refuse(kj::str("cannot make the directory ", path, ". Nothing was changed."));
  }
  names = directory->openSubdir(kj::Path(kj::str(NAMES)), kj::WriteMode::CREATE);
}

void BackupWriter::begin(kj::StringPtr name) {
  end();
  KJ_REQUIRE(isFileName(name.cStr()), "not a name of a file in a namespace store", name);
  current = names->openFile(kj::Path(kj::str(name)), kj::WriteMode::CREATE);
  files.push_back({name.cStr(), 0, 0});
}

void BackupWriter::append(kj::ArrayPtr<const kj::byte> bytes) {
  auto& file = files.back();
  KJ_REQUIRE_NONNULL(current)->write(file.size, bytes);
  file.crc = file.size == 0 ? env::crc32c(bytes) : env::crc32cExtend(file.crc, bytes);
  file.size += bytes.size();
}

void BackupWriter::end() {
  KJ_IF_MAYBE (file, current) (*file)->sync();
  current = nullptr;
}

void BackupWriter::finish(BackupManifest manifest) {
  end();
  names->sync();
  manifest.files = files;
  auto text = encode(manifest);
  auto file = directory->openFile(kj::Path(kj::str(MANIFEST_NEW)), kj::WriteMode::CREATE);
  file->writeAll(kj::StringPtr(text.c_str(), text.size()));
  file->sync();
  directory->transfer(kj::Path(kj::str(MANIFEST)), kj::WriteMode::CREATE, kj::Path(kj::str(MANIFEST_NEW)),
                      kj::TransferMode::MOVE);
  directory->sync();
}

// -- reading

BackupReader::BackupReader(kj::StringPtr pathParam)
    : path(kj::str(pathParam)), filesystem(kj::newDiskFilesystem()) {
  auto at = filesystem->getCurrentPath().evalNative(path);
  KJ_IF_MAYBE (directory, filesystem->getRoot().tryOpenSubdir(at)) {
    KJ_IF_MAYBE (file, (*directory)->tryOpenFile(kj::Path(kj::str(MANIFEST)))) {
      content = parseBackup((*file)->readAllText(), path);
    } else {
      refuse(kj::str(path,
                     " has no file BACKUP: it is no backup of a metaserver, or one that was not finished. "
                     "Nothing was changed."));
    }
    KJ_IF_MAYBE (found, (*directory)->tryOpenSubdir(kj::Path(kj::str(NAMES)))) {
      names = kj::mv(*found);
    } else {
      refuse(kj::str(path, "/names is missing. Nothing was changed. Take another backup of this cluster."));
    }
  } else {
    refuse(kj::str(path, " is no directory. Nothing was changed."));
  }
}

template <typename Take>
void BackupReader::read(const BackupFile& file, Take&& take) const {
  auto wrong = [&](kj::StringPtr what) {
    refuse(kj::str(path, "/names/", file.name.c_str(), " ", what,
                   ": the backup is damaged. Nothing was changed. Take another backup of this cluster."));
  };
  auto found = names->tryOpenFile(kj::Path(kj::str(file.name.c_str())));
  if (found == nullptr) wrong("is missing");
  auto& opened = *KJ_ASSERT_NONNULL(found);
  if (opened.stat().size != file.size) wrong("has another length than it was written with");
  auto buffer = kj::heapArray<kj::byte>(BACKUP_PIECE_SIZE);
  uint32_t crc = 0;
  for (uint64_t at = 0; at < file.size;) {
    auto bytes = buffer.slice(0, std::min(uint64_t(buffer.size()), file.size - at));
    if (opened.read(at, bytes) != bytes.size()) wrong("cannot be read to its end");
    crc = at == 0 ? env::crc32c(bytes) : env::crc32cExtend(crc, bytes);
    take(at, bytes);
    at += bytes.size();
  }
  if (file.size > 0 && crc != file.crc) wrong("does not match its checksum");
}

void BackupReader::verify() const {
  for (auto& file : content.files) read(file, [](uint64_t, kj::ArrayPtr<const kj::byte>) {});
}

void BackupReader::copy(const BackupFile& file, const kj::File& into) const {
  read(file, [&](uint64_t at, kj::ArrayPtr<const kj::byte> bytes) { into.write(at, bytes); });
  into.sync();
}

}  // namespace cairn
