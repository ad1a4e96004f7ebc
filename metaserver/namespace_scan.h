// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// The rows of the namespace store as of one operation, however much is changed meanwhile: what a check walks
// over. Reads whatever is there, contradictions included. Made by Namespace::scan(); may be used as long as
// the namespace lives.
#pragma once

#include <rocksdb/db.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "metaserver/keys.h"
#include "metaserver/records.h"

namespace cairn {

class NamespaceScan {
 public:
  explicit NamespaceScan(rocksdb::DB& db);
  ~NamespaceScan() noexcept(false);
  KJ_DISALLOW_COPY(NamespaceScan);

  const NamespaceState& state() const { return content; }
  std::optional<std::string> get(const Key& key) const;

  class Rows {
    // Those of one table, in the order of their keys.
   public:
    Rows(const NamespaceScan& scan, Table table, uint64_t from = 0);
    bool valid() const;
    void next() { it->Next(); }
    uint64_t first() const;                       // the number that the key begins with
    uint64_t second() const;                      // and the next, where it has two
    std::string_view text(size_t numbers) const;  // what is behind so many numbers
    std::string_view value() const { return it->value().ToStringView(); }

   private:
    std::unique_ptr<rocksdb::Iterator> it;
    Table table;
  };
  Rows rows(Table table, uint64_t from = 0) const { return Rows(*this, table, from); }

 private:
  rocksdb::DB& db;
  const rocksdb::Snapshot* snapshot;
  NamespaceState content;
  rocksdb::ReadOptions options() const;
};

}  // namespace cairn
