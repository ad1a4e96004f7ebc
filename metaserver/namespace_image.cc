// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See namespace_image.h.
#include "metaserver/namespace_image.h"

#include <kj/debug.h>
#include <rocksdb/env.h>

#include <algorithm>

#include "rpc/coroutine.h"

namespace cairn {

namespace {

constexpr const char* UNFINISHED = ".tmp";  // of RocksDB, while it makes one

bool belongsToStore(const std::string& name) {
  // Not its log for people, nor its lock.
  return name == "CURRENT" || name.rfind("MANIFEST-", 0) == 0 || name.rfind("OPTIONS-", 0) == 0 ||
         (name.size() > 4 && name.compare(name.size() - 4, 4, ".sst") == 0);
}

void removeDirectory(rocksdb::Env& env, const std::string& directory) {
  std::vector<std::string> names;
  if (!env.GetChildren(directory, &names).ok()) return;
  for (auto& name : names) {
    if (name != "." && name != "..") env.DeleteFile(directory + "/" + name).PermitUncheckedError();
  }
  env.DeleteDir(directory).PermitUncheckedError();
}

}  // namespace

void NamespaceImage::removeLeftover(rocksdb::Env& env, kj::StringPtr directory) {
  removeDirectory(env, directory.cStr());
  removeDirectory(env, std::string(directory.cStr()) + UNFINISHED);
}

NamespaceImage::NamespaceImage(rocksdb::Env& env, kj::String directory, env::Worker& worker)
    : env(env), directory(kj::mv(directory)), worker(worker) {}

NamespaceImage::~NamespaceImage() noexcept(false) {
  removeLeftover(env, directory);
}

void NamespaceImage::make(const Namespace& names) {
  removeLeftover(env, directory);
  names.copyTo(directory);
  NamespaceOptions options;
  options.path = directory;
  options.env = &env;
  options.cacheBytes = 8 << 20;
  options.access = NamespaceOptions::Access::READ;
  {
    auto copy = Namespace::open(options);
    copy->verify();
    content = copy->state();
  }
  std::vector<std::string> children;
  auto status = env.GetChildren(directory.cStr(), &children);
  KJ_REQUIRE(status.ok(), "the copy of the namespace store cannot be listed", directory,
             status.ToString().c_str());
  std::sort(children.begin(), children.end());
  for (auto& name : children) {
    if (!belongsToStore(name)) continue;
    File file{name, 0};
    auto sized = env.GetFileSize(std::string(directory.cStr()) + "/" + name, &file.size);
    KJ_REQUIRE(sized.ok(), "a file of the namespace store has no size", name.c_str(),
               sized.ToString().c_str());
    list.push_back(file);
  }
}

Async<kj::Own<NamespaceImage>> NamespaceImage::take(const Namespace& names, rocksdb::Env& env,
                                                    kj::String directory, env::Worker& worker) {
  auto image = kj::heap<NamespaceImage>(env, kj::mv(directory), worker);
  co_await worker.run([&image = *image, &names]() { image.make(names); });
  co_return kj::mv(image);
}

Async<kj::Array<kj::byte>> NamespaceImage::read(size_t file, uint64_t offset, size_t size) {
  auto& wanted = list.at(file);
  auto path = std::string(directory.cStr()) + "/" + wanted.name;
  size = offset >= wanted.size ? 0 : size_t(std::min(uint64_t(size), wanted.size - offset));
  auto bytes = kj::heapArray<kj::byte>(size);
  co_await worker.run([this, &path, offset, &bytes]() {
    std::unique_ptr<rocksdb::RandomAccessFile> opened;
    auto status = env.NewRandomAccessFile(path, &opened, rocksdb::EnvOptions());
    rocksdb::Slice got;
    auto into = reinterpret_cast<char*>(bytes.begin());
    if (status.ok()) status = opened->Read(offset, bytes.size(), &got, into);
    KJ_REQUIRE(status.ok() && got.size() == bytes.size(), "a file of the namespace store cannot be read",
               path.c_str(), status.ToString().c_str());
    if (got.data() != into) memcpy(into, got.data(), got.size());
  });
  co_return kj::mv(bytes);
}

}  // namespace cairn
