// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
#include "metaserver/inode.h"

namespace cairn {

void Attributes::write(rpc::Attributes::Builder builder) const {
  builder.setInode(inode.value());
  builder.setType(type);
  builder.setMode(mode);
  builder.setUid(uid);
  builder.setGid(gid);
  builder.setLinks(links);
  builder.setSize(size);
  builder.setBytesUsed(bytesUsed);
  builder.setAtime(atime);
  builder.setMtime(mtime);
  builder.setCtime(ctime);
  builder.setDevice(device);
  builder.setReplicas(replicas);
  builder.setDataVersion(dataVersion);
  builder.setExtended(extended);
}

uint32_t ChunkReference::zeroBlocksIn(const ChunkRecord& record) const {
  if (validBytes == ALL_BYTES_VALID) return record.zeroBlocks;
  auto dataEnd = (kj::min(validBytes, CHUNK_SIZE) + BLOCK_SIZE - 1) / BLOCK_SIZE;
  return kj::max(record.zeroBlocks, BLOCKS_PER_CHUNK - dataEnd);
}

}  // namespace cairn
