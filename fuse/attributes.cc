// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
#include "fuse/attributes.h"

#include <sys/sysmacros.h>

#include "fuse/libfuse.h"

namespace cairn::fuse {

namespace {

constexpr int64_t NANOSECONDS = 1'000'000'000;

struct timespec timespecOf(Timestamp time) {
  // Rounds towards the past, so that the nanoseconds of a time before 1970 are positive too.
  int64_t seconds = time.ns / NANOSECONDS, rest = time.ns % NANOSECONDS;
  if (rest < 0) --seconds, rest += NANOSECONDS;
  return {.tv_sec = seconds, .tv_nsec = rest};
}

Timestamp timestampOf(const struct timespec& time) {
  // 64 bits of nanoseconds reach from 1677 to 2262; what lies beyond is kept at the edge.
  int64_t ns;
  if (__builtin_mul_overflow(int64_t(time.tv_sec), NANOSECONDS, &ns) ||
      __builtin_add_overflow(ns, int64_t(time.tv_nsec), &ns)) {
    ns = time.tv_sec < 0 ? INT64_MIN : INT64_MAX;
  }
  return {ns};
}

}  // namespace

mode_t typeBitsOf(FileType type) {
  switch (type) {
    case FileType::REGULAR:
      return S_IFREG;
    case FileType::DIRECTORY:
      return S_IFDIR;
    case FileType::SYMLINK:
      return S_IFLNK;
    case FileType::FIFO:
      return S_IFIFO;
    case FileType::SOCKET:
      return S_IFSOCK;
    case FileType::CHARACTER_DEVICE:
      return S_IFCHR;
    case FileType::BLOCK_DEVICE:
      return S_IFBLK;
  }
  return S_IFREG;  // a type from a newer metaserver
}

FileType typeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileType::DIRECTORY;
    case S_IFLNK:
      return FileType::SYMLINK;
    case S_IFIFO:
      return FileType::FIFO;
    case S_IFSOCK:
      return FileType::SOCKET;
    case S_IFCHR:
      return FileType::CHARACTER_DEVICE;
    case S_IFBLK:
      return FileType::BLOCK_DEVICE;
    default:
      return FileType::REGULAR;  // mknod(2): zero means a regular file
  }
}

struct stat statOf(const FileAttributes& attributes) {
  struct stat result = {};
  result.st_ino = attributes.inode.value();
  result.st_mode = typeBitsOf(attributes.type) | (attributes.mode & 07777);
  result.st_nlink = attributes.links;
  result.st_uid = attributes.uid;
  result.st_gid = attributes.gid;
  result.st_rdev = attributes.device;
  result.st_size = static_cast<off_t>(attributes.size);
  result.st_blocks = static_cast<blkcnt_t>((attributes.bytesUsed + 511) / 512);
  result.st_blksize = TRANSFER_SIZE_MAX;  // what cp, cat and stdio take as their buffer
  result.st_atim = timespecOf(attributes.atime);
  result.st_mtim = timespecOf(attributes.mtime);
  result.st_ctim = timespecOf(attributes.ctime);
  return result;
}

AttributeChange changeOf(const struct stat& wanted, int toSet) {
  AttributeChange change;
  if (toSet & FUSE_SET_ATTR_MODE) change.mode = static_cast<uint16_t>(wanted.st_mode & 07777);
  if (toSet & FUSE_SET_ATTR_UID) change.uid = static_cast<uint32_t>(wanted.st_uid);
  if (toSet & FUSE_SET_ATTR_GID) change.gid = static_cast<uint32_t>(wanted.st_gid);
  if (toSet & FUSE_SET_ATTR_SIZE) change.size = static_cast<uint64_t>(wanted.st_size);
  if (toSet & FUSE_SET_ATTR_ATIME_NOW) {
    change.atimeNow = AttributeChange::Now::YES;
  } else if (toSet & FUSE_SET_ATTR_ATIME) {
    change.atime = timestampOf(wanted.st_atim);
  }
  if (toSet & FUSE_SET_ATTR_MTIME_NOW) {
    change.mtimeNow = AttributeChange::Now::YES;
  } else if (toSet & FUSE_SET_ATTR_MTIME) {
    change.mtime = timestampOf(wanted.st_mtim);
  }
  return change;
}

uint16_t withoutPrivileges(uint16_t mode, OfGroup caller) {
  uint16_t privileges = S_ISUID | (mode & S_IXGRP || caller == OfGroup::NO ? S_ISGID : 0);
  return mode & static_cast<uint16_t>(~privileges);
}

}  // namespace cairn::fuse
