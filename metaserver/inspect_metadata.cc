// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/inspect_metadata.h"

#include <capnp/compat/json.h>
#include <kj/debug.h>

#include "metaserver/log_segment.h"
#include "metaserver/namespace.h"

namespace cairn {

namespace {

class Output {
 public:
  Output(InspectFormat format, kj::OutputStream& stream) : format(format), stream(stream) {}

  bool json() const { return format == InspectFormat::JSON; }
  void put(kj::StringPtr text) { stream.write(text.begin(), text.size()); }
  void item(kj::StringPtr text) {  // of a JSON list
    put(first ? "\n" : ",\n");
    put(text);
    first = false;
  }
  void beginList(kj::StringPtr before) {
    put(before);
    first = true;
  }
  kj::String quoted(kj::StringPtr text) {
    return codec.encodeRaw([&]() {
      auto value = scratch.initRoot<capnp::JsonValue>();
      value.setString(text);
      return value.asReader();
    }());
  }
  kj::String operation(rpc::Operation::Reader operation) { return codec.encode(operation); }

 private:
  InspectFormat format;
  kj::OutputStream& stream;
  capnp::JsonCodec codec;
  capnp::MallocMessageBuilder scratch;
  bool first = true;
};

kj::String describeTail(const SegmentScan& scan, size_t size) {
  if (scan.tail == SegmentScan::Tail::UNSYNCED) {
    return kj::str(
        size - scan.validBytes, " bytes from byte ", scan.validBytes,
        " on are not whole and were never known to be on stable storage: the next start cuts them off");
  }
  return kj::str("damaged at byte ", scan.validBytes,
                 ": what follows was on stable storage; restore the file");
}

void inspectSegment(Output& out, kj::StringPtr name, kj::ArrayPtr<const kj::byte> bytes) {
  auto decoded = decodeHeader(bytes);
  SegmentHeader header;
  SegmentScan scan;
  kj::String problem;
  KJ_IF_MAYBE (found, decoded) {
    header = *found;
    if (header.format != LOG_FORMAT) {
      problem = kj::str("format ", header.format, " is not known to this program, which knows ", LOG_FORMAT);
    } else {
      scan = scanRecords(bytes, header.first);
      if (scan.tail != SegmentScan::Tail::CLEAN) problem = describeTail(scan, bytes.size());
    }
  } else {
    problem = kj::str("no readable header");
  }
  if (out.json()) {
    out.item(kj::str("{\"file\": ", out.quoted(name), ", \"bytes\": ", bytes.size(), ", \"format\": ",
                     header.format, ", \"cluster\": \"", header.cluster, "\", \"epoch\": ", header.epoch,
                     ", \"first\": ", header.first, ", \"synced\": ", header.synced));
    if (problem.size() > 0) out.put(kj::str(", \"problem\": ", out.quoted(problem)));
    out.beginList(", \"operations\": [");
  } else {
    out.put(kj::str("log segment ", name, ": ", bytes.size(), " bytes, format ", header.format, ", cluster ",
                    header.cluster, ", epoch ", header.epoch, ", from operation ", header.first, ", ",
                    scan.records.size(), " operations\n"));
  }
  for (auto& record : scan.records) {
    OperationReader reader(record.payload);
    if (out.json()) {
      out.item(out.operation(reader.operation()));
    } else {
      out.put(kj::str(record.index, " (synced ", record.synced, ") ", reader.operation(), "\n"));
    }
  }
  if (out.json()) {
    out.put("]}");
  } else if (problem.size() > 0) {
    out.put(kj::str("PROBLEM in ", name, ": ", problem, "\n"));
  }
}

void inspectLog(Output& out, const kj::ReadableDirectory& log) {
  bool first = true;
  for (auto& name : log.listNames()) {  // in order
    if (parseSegmentName(name) == nullptr) continue;
    auto bytes = log.openFile(kj::Path(kj::str(name)))->readAllBytes();
    if (out.json() && !first) out.put(",");
    first = false;
    out.beginList("");
    inspectSegment(out, name, bytes);
  }
}

void inspectNames(Output& out, kj::StringPtr path, rocksdb::Env* env) {
  auto show = [&](kj::StringPtr line) {
    if (out.json()) {
      out.item(out.quoted(line));
    } else {
      out.put(kj::str(line, "\n"));
    }
  };
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 auto names =
                     Namespace::open({.path = path, .env = env, .access = NamespaceOptions::Access::READ});
                 names->visitRecords(show);
               })) {
    show(kj::str("PROBLEM: ", exception->getDescription()));
  }
}

}  // namespace

void inspectMetadata(const kj::ReadableDirectory& log, kj::StringPtr namesPath, rocksdb::Env* env,
                     InspectFormat format, kj::OutputStream& stream) {
  Output out(format, stream);
  if (out.json()) out.put("{\"log\": [");
  inspectLog(out, log);
  if (out.json()) out.beginList("],\n\"names\": [");
  inspectNames(out, namesPath, env);
  if (out.json()) out.put("]}\n");
}

}  // namespace cairn
