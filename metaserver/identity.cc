// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See identity.h.
#include "metaserver/identity.h"

#include <kj/debug.h>

#include <cerrno>
#include <cstdlib>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr kj::StringPtr IDENTITY = "IDENTITY"_kj;
constexpr kj::StringPtr IDENTITY_NEW = "IDENTITY.new"_kj;
constexpr kj::StringPtr LOCK = "LOCK"_kj;
constexpr size_t IDENTITY_SIZE_MAX = 4096;

kj::Vector<kj::String> linesOf(kj::StringPtr text) {
  kj::Vector<kj::String> lines;
  while (text.size() > 0) {
    size_t length = text.findFirst('\n').orDefault(text.size());
    lines.add(kj::heapString(text.slice(0, length)));
    text = length < text.size() ? text.slice(length + 1) : kj::StringPtr();
  }
  return lines;
}

kj::Maybe<kj::StringPtr> after(kj::StringPtr prefix, kj::StringPtr line) {
  if (line.startsWith(prefix)) return line.slice(prefix.size());
  return nullptr;
}

ClusterId parse(kj::StringPtr text, kj::StringPtr name) {
  auto lines = linesOf(text);
  KJ_REQUIRE(lines.size() >= 1 && lines[0] == "cairn metaserver",
             kj::str(name, " is no metaserver directory (its IDENTITY says otherwise); nothing was changed"));
  uint64_t format = 0;
  kj::Maybe<ClusterId> cluster;
  for (auto& line : lines) {
    KJ_IF_MAYBE (value, after("format ", line)) format = strtoull(value->cStr(), nullptr, 10);
    KJ_IF_MAYBE (value, after("cluster ", line)) cluster = parseClusterId(*value);
  }
  KJ_REQUIRE(format <= DIRECTORY_FORMAT,
             kj::str(name, " has format ", format, ", and this program knows formats up to ",
                     DIRECTORY_FORMAT, ": start it with a newer cairn-metaserver; nothing was changed"));
  KJ_IF_MAYBE (id, cluster) {
    if (format > 0 && *id) return *id;
  }
  KJ_FAIL_REQUIRE(
      kj::str(name,
              "/IDENTITY is damaged: restore its three lines (the cluster id is what cairn status of the "
              "running cluster showed); nothing was changed"));
}

void check(const env::IoOutcome& outcome, kj::StringPtr what, kj::StringPtr name) {
  KJ_REQUIRE(outcome.ok(), kj::str("cannot ", what, " in ", name, ": ", env::describeError(outcome.error)));
}

Async<void> write(env::Disk& disk, kj::StringPtr name, ClusterId cluster) {
  auto text = identityText(cluster);
  (void)co_await disk.remove(IDENTITY_NEW);  // of an attempt that was cut off
  auto opened = co_await disk.open(IDENTITY_NEW, env::OpenMode::CREATE);
  check({0, opened.error}, "create IDENTITY.new", name);
  auto file = kj::mv(KJ_ASSERT_NONNULL(opened.file));
  check(co_await file->write(0, text.asBytes()), "write IDENTITY.new", name);
  check(co_await file->sync(), "sync IDENTITY.new", name);
  check(co_await disk.rename(IDENTITY_NEW, IDENTITY), "rename IDENTITY.new", name);
  check(co_await disk.syncDirectory(""), "sync the directory", name);
}

}  // namespace

kj::String identityText(ClusterId cluster) {
  return kj::str("cairn metaserver\nformat ", DIRECTORY_FORMAT, "\ncluster ", cluster, "\n");
}

Async<DirectoryIdentity> claimDirectory(env::Disk& disk, kj::StringPtr name, kj::EntropySource& entropy) {
  auto opened = co_await disk.open(IDENTITY, env::OpenMode::READ);
  KJ_REQUIRE(opened.error == 0 || opened.error == ENOENT,
             kj::str("cannot open ", name, "/IDENTITY: ", env::describeError(opened.error)));
  if (opened.error == ENOENT) {
    auto listed = co_await disk.list("");
    KJ_REQUIRE(listed.error == 0, kj::str("cannot list ", name, ": ", env::describeError(listed.error)));
    for (auto& found : listed.names) {
      if (found == LOCK || found == IDENTITY_NEW || found == "lost+found") continue;
      KJ_FAIL_REQUIRE(kj::str(name, " is not empty (", found,
                              ") and has no IDENTITY: it is not a metaserver's "
                              "directory. Give an empty or new one; nothing was changed"));
    }
  }
  auto locked = disk.lock(LOCK);
  KJ_REQUIRE(locked.error == 0,
             locked.error == EWOULDBLOCK
                 ? kj::str(name, " is in use by process ",
                           locked.holder.size() > 0 ? locked.holder.asPtr() : "unknown"_kj,
                           ": two metaservers cannot share a directory")
                 : kj::str("cannot lock ", name, "/LOCK: ", env::describeError(locked.error)));
  DirectoryIdentity identity;
  identity.lock = kj::mv(KJ_ASSERT_NONNULL(locked.lock));

  KJ_IF_MAYBE (file, opened.file) {
    auto buffer = kj::heapArray<kj::byte>(IDENTITY_SIZE_MAX);
    auto read = co_await (*file)->read(0, buffer);
    check(read, "read IDENTITY", name);
    identity.cluster = parse(kj::heapString(buffer.slice(0, read.bytes).asChars()), name);
    co_return kj::mv(identity);
  }
  kj::byte random[16];
  entropy.generate(kj::arrayPtr(random, sizeof(random)));
  memcpy(&identity.cluster.high, random, 8);
  memcpy(&identity.cluster.low, random + 8, 8);
  identity.cluster.low |= 1;  // never the "unknown" id
  identity.age = DirectoryIdentity::Age::NEW;
  co_await write(disk, name, identity.cluster);
  co_return kj::mv(identity);
}

}  // namespace cairn
