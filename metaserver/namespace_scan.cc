// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See namespace_scan.h.
#include "metaserver/namespace_scan.h"

#include <kj/debug.h>

#include "metaserver/transaction.h"

namespace cairn {

NamespaceScan::NamespaceScan(rocksdb::DB& db) : db(db), snapshot(db.GetSnapshot()) {
  auto found = get(Key(Table::STATE));
  if (found.has_value()) content = decodeState(*found);
}

NamespaceScan::~NamespaceScan() noexcept(false) {
  db.ReleaseSnapshot(snapshot);
}

rocksdb::ReadOptions NamespaceScan::options() const {
  rocksdb::ReadOptions result;
  result.snapshot = snapshot;
  result.fill_cache = false;  // a walk over everything must not push out what clients use
  return result;
}

std::optional<std::string> NamespaceScan::get(const Key& key) const {
  std::string value;
  auto status = db.Get(options(), key.view(), &value);
  checkRead(status);
  if (!status.ok()) return std::nullopt;
  return value;
}

NamespaceScan::Rows::Rows(const NamespaceScan& scan, Table table, uint64_t from)
    : it(scan.db.NewIterator(scan.options())), table(table) {
  it->Seek(Key(table, from).view());
}

bool NamespaceScan::Rows::valid() const {
  if (!it->Valid()) {
    checkRead(it->status());
    return false;
  }
  return it->key().size() > 0 && it->key()[0] == static_cast<char>(table);
}

uint64_t NamespaceScan::Rows::first() const {
  return KeyReader(it->key().ToStringView()).number();
}

uint64_t NamespaceScan::Rows::second() const {
  KeyReader key(it->key().ToStringView());
  key.number();
  return key.number();
}

std::string_view NamespaceScan::Rows::text(size_t numbers) const {
  auto key = it->key().ToStringView();
  auto skip = std::min(key.size(), 1 + 8 * numbers);
  return key.substr(skip);
}

}  // namespace cairn
