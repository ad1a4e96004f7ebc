// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Daemons that are started where they must not run, and peers that say what cannot be: each is refused with a
// sentence, and the cluster goes on.
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <unistd.h>

#include <cerrno>

#include "rpc/chunkd.capnp.h"
#include "rpc/common.capnp.h"
#include "rpc/metaserver.capnp.h"
#include "test/e2e/expect.h"
#include "test/e2e/local_cluster.h"

namespace cairn::e2e {
namespace {

using Refusals = EndToEnd;

constexpr uint32_t CHUNK_SIZE = 64 << 20;

class RawPeer {
  // A peer that says what it likes.
 public:
  explicit RawPeer(const std::string& address)
      : io(kj::setupAsyncIo()),
        stream(io.provider->getNetwork()
                   .parseAddress(address.c_str())
                   .wait(io.waitScope)
                   ->connect()
                   .wait(io.waitScope)),
        client(*stream),
        gate(client.bootstrap().castAs<rpc::Gate>()) {}

  template <typename T>
  auto wait(T promise) {
    return promise.wait(io.waitScope);  // a peer that does not answer is caught by the test's own time limit
  }

  capnp::Response<rpc::Gate::HelloResults> hello(uint32_t protocol, uint64_t high = 0, uint64_t low = 0) {
    auto request = gate.helloRequest();
    request.setProtocol(protocol);
    request.getCluster().setHigh(high);
    request.getCluster().setLow(low);
    request.setCaller("a test");
    return wait(request.send());
  }
  kj::AsyncIoContext io;
  kj::Own<kj::AsyncIoStream> stream;
  capnp::TwoPartyClient client;
  rpc::Gate::Client gate;
};

std::vector<std::string> chunkdOn(const std::string& store, const std::string& metaserver) {
  return {program("cairn-chunkd"), "--store", store, "--metaserver", metaserver, "--listen", "127.0.0.1:0"};
}

TEST_F(Refusals, ASecondDaemonOnADirectory) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  EXPECT_REFUSES(test::run(chunkdOn(c.store(1), c.address()), {.patience = 20s}), c.store(1));
  EXPECT_REFUSES(test::run({program("cairn-metaserver"), "--dir", c.directory() + "/metaserver-1", "--listen",
                            "127.0.0.1:0"},
                           {.patience = 20s}),
                 c.directory() + "/metaserver-1");
  EXPECT_OK(c.sh("echo fine > f; cat f"));
}

TEST_F(Refusals, AReadyFileThatCannotBeWritten) {
  // Whoever waits for the file would wait for ever.
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto words = chunkdOn(c.scratch("store"), c.address());
  words.insert(words.end(), {"--ready-file", c.scratch("missing") + "/ready"});
  EXPECT_REFUSES(test::run(words, {.patience = 20s}), c.scratch("missing"));
  EXPECT_REFUSES(test::run({program("cairn-metaserver"), "--dir", c.scratch("meta"), "--listen",
                            "127.0.0.1:0", "--ready-file", c.scratch("missing") + "/ready"},
                           {.patience = 20s}),
                 c.scratch("missing"));
  EXPECT_REFUSES(
      test::run({program("cairn-metaserver"), "--dir", c.scratch("meta"), "--listen", "localhost:94x"}),
      "94x");
}

TEST_F(Refusals, AStoreOfAnotherCluster) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh("echo mine > f; sync f"));
  {
    LocalCluster other({.chunkds = 1, .replicas = 1});
    ASSERT_OK(other.down());
    EXPECT_REFUSES(test::run(chunkdOn(other.store(1), c.address()), {.patience = 20s}), "cluster");
  }
  EXPECT_EQ(readFile(c / "f"), "mine\n");
}

TEST_F(Refusals, AStoreOfANewerFormat) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto address = c.address();
  ASSERT_OK(c.down());
  auto path = c.store(1) + "/store.identity";
  auto identity = readFile(path);
  auto newer = identity;
  ASSERT_EQ(newer.find("cairn-chunk-store 1\n"), 0u) << identity;
  newer.replace(0, 20, "cairn-chunk-store 9\n");
  writeFile(path, newer);
  EXPECT_REFUSES(test::run(chunkdOn(c.store(1), address), {.patience = 20s}), "format");
  EXPECT_EQ(readFile(path), newer) << "it changed what it refused";
  writeFile(path, identity);
  EXPECT_OK(c.up());
}

TEST_F(Refusals, AMetaserverDirectoryOfANewerFormat) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh("echo mine > f; sync f"));
  ASSERT_OK(c.down());
  auto path = c.directory() + "/metaserver-1/IDENTITY";
  auto identity = readFile(path);
  auto newer = identity;
  auto format = newer.find("format 1");
  ASSERT_NE(format, std::string::npos) << identity;
  newer[format + 7] = '9';
  writeFile(path, newer);
  EXPECT_REFUSES(test::run({program("cairn-metaserver"), "--dir", c.directory() + "/metaserver-1", "--listen",
                            "127.0.0.1:0"},
                           {.patience = 20s}),
                 "format 9");
  EXPECT_EQ(readFile(path), newer) << "it changed what it refused";
  writeFile(path, identity);
  ASSERT_OK(c.up());
  EXPECT_EQ(readFile(c / "f"), "mine\n");
}

TEST_F(Refusals, AnotherProtocolVersionOrCluster) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  for (auto& address : {c.address(), c.chunkdAddress(1)}) {
    RawPeer peer(address);
    auto wrong = peer.hello(999);
    EXPECT_EQ(wrong.getStatus(), rpc::Status::WRONG_PROTOCOL);
    EXPECT_GT(wrong.getMessage().size(), 20u) << "a sentence";
    EXPECT_NE(std::string(wrong.getMessage().cStr()).find("999"), std::string::npos)
        << wrong.getMessage().cStr();
    EXPECT_FALSE(wrong.hasService());
    auto foreign = peer.hello(rpc::PROTOCOL_VERSION, 1, 2);
    EXPECT_EQ(foreign.getStatus(), rpc::Status::WRONG_CLUSTER);
    EXPECT_GT(foreign.getMessage().size(), 20u);
    EXPECT_FALSE(foreign.hasService());
    EXPECT_EQ(peer.hello(rpc::PROTOCOL_VERSION).getStatus(), rpc::Status::OK);
  }
}

TEST_F(Refusals, Garbage) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  for (auto& address : {c.address(), c.chunkdAddress(1)}) {
    auto colon = address.rfind(':');
    for (auto bytes : {randomBytes(100'000, 1), std::string(5'000, '\xff'), std::string(64, '\0')}) {
      writeFile(c.scratch("garbage"), bytes);
      shell("timeout 5 bash -c 'cat " + c.scratch("garbage") + " > /dev/tcp/" + address.substr(0, colon) +
            "/" + address.substr(colon + 1) + "'");
    }
  }
  EXPECT_OK(c.sh("echo fine > f; sync f; cat f"));
  EXPECT_TRUE(c.alive("metaserver-1") && c.alive("chunkd-1"));
}

TEST_F(Refusals, AWriteBeyondTheChunk) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  ASSERT_OK(c.sh("echo content > f; sync f"));
  auto chunk = c.chunks("f").at(0);
  RawPeer peer(c.chunkdAddress(1));
  auto answer = peer.hello(rpc::PROTOCOL_VERSION);
  auto server = answer.getService().castAs<rpc::ChunkServer>();
  for (uint32_t offset : {CHUNK_SIZE - 1, CHUNK_SIZE, 0xffffffff}) {
    auto request = server.writeRequest();
    request.getChunk().setHandle(chunk.handle);
    request.getChunk().setVersion(chunk.version);
    request.setOffset(offset);
    request.initData(8);
    request.initChecksums(2);
    EXPECT_EQ(peer.wait(request.send()).getStatus(), rpc::Status::INVALID) << offset;
  }
  EXPECT_EQ(readFile(c / "f"), "content\n");
}

TEST_F(Refusals, WithoutAnyChunkDaemonNamesWorkAndWritesSayWhy) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  c.killSupervisor();
  c.kill("chunkd-1");
  EXPECT_OK(c.sh("mkdir d; mv d e; ls; rmdir e", {.patience = 20s}));
  auto error = writeDurably(c / "f", "nobody to take it");
  EXPECT_TRUE(error == ENOSPC || error == EIO) << strerror(error);
  auto status = c.cairn({"status", "--dir", c.directory()});
  EXPECT_NE((status.out + status.err).find("down"), std::string::npos) << status.describe();
  ASSERT_OK(c.up());
  ASSERT_TRUE(c.waitHealthy(1));
  EXPECT_OK(c.sh("echo x > g; sync g"));
}

}  // namespace
}  // namespace cairn::e2e
