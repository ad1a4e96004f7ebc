// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The format of a metaserver's backup, for those who write one (`cairn backup`, `cairn-metaserver backup`)
// and `cairn-metaserver restore`. A backup is a directory:
//
//   names/...   the files of a namespace store (docs/disk-format.md) as of one operation
//   BACKUP      what it is and what belongs to it, as text:
//                 cairn metaserver backup
//                 format 1
//                 cluster 0123456789abcdef0123456789abcdef
//                 operation N          the last one that is in it
//                 epoch N
//                 inodes N
//                 chunks N
//                 taken N              ns since 1970
//                 file NAME SIZE CRC   of each file below names/: bytes, CRC32C of them as 8 hex digits
//                 crc CRC              of all lines before
//
// BACKUP is written last, when all files are on stable storage: a directory without it is no backup.
#pragma once

#include <kj/array.h>
#include <kj/filesystem.h>
#include <kj/string.h>

#include <string>
#include <vector>

#include "rpc/units.h"

namespace cairn {

constexpr uint32_t BACKUP_FORMAT = 1;
constexpr size_t BACKUP_PIECE_SIZE = 1 << 20;  // bytes that are read or sent at a time

struct BackupFile {
  std::string name;
  uint64_t size = 0;
  uint32_t crc = 0;
  bool operator==(const BackupFile&) const = default;
};

struct BackupManifest {
  ClusterId cluster;
  LogIndex operation;
  Epoch epoch;
  uint64_t inodes = 0, chunks = 0;
  int64_t taken = 0;
  std::vector<BackupFile> files;
  bool operator==(const BackupManifest&) const = default;
};

std::string encode(const BackupManifest& manifest);
BackupManifest parseBackup(kj::StringPtr text, kj::StringPtr path);
// Throws, with a sentence for the user that names `path`: no backup, a newer format, damage.

class BackupWriter {
  // Writes one. Throws, with a sentence for the user.
 public:
  explicit BackupWriter(kj::StringPtr path);  // made if it is not there; else it must be empty

  void begin(kj::StringPtr file);
  void append(kj::ArrayPtr<const kj::byte> bytes);  // to the file begun last
  void finish(BackupManifest manifest);             // whose list of files is filled in

 private:
  kj::String path;
  kj::Own<kj::Filesystem> filesystem;
  kj::Own<const kj::Directory> directory, names;
  kj::Maybe<kj::Own<const kj::File>> current;
  std::vector<BackupFile> files;
  void end();
};

class BackupReader {
  // Reads one, and compares it with what it says. Throws, with a sentence for the user.
 public:
  explicit BackupReader(kj::StringPtr path);
  const BackupManifest& manifest() const { return content; }

  void verify() const;  // all files
  void copy(const BackupFile& file, const kj::File& into) const;

 private:
  kj::String path;
  kj::Own<kj::Filesystem> filesystem;
  kj::Own<const kj::ReadableDirectory> names;
  BackupManifest content;
  template <typename Take>
  void read(const BackupFile& file, Take&& take) const;
};

}  // namespace cairn
