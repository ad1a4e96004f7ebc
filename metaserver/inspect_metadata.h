// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// What is in an operation log and a namespace store, as text or JSON, also when they are damaged or in use:
// it reads only, and says what it could not read. For `cairn-metaserver inspect`.
#pragma once

#include <kj/filesystem.h>
#include <kj/io.h>
#include <kj/string.h>

namespace rocksdb {
class Env;
}

namespace cairn {

enum class InspectFormat { TEXT, JSON };

void inspectMetadata(const kj::ReadableDirectory& log, kj::StringPtr namesPath, rocksdb::Env* env,
                     InspectFormat format, kj::OutputStream& out);
// `log`: the directory of the segments; `namesPath`: the RocksDB's. JSON is one object: {"log": [segment...],
// "names": [line...]}, a segment with "file", "bytes", header fields, "operations" and, when there is one,
// "problem".

}  // namespace cairn
