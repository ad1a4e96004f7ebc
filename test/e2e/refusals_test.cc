// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Daemons that are started where they must not run, and peers that say what cannot be: each is refused with a
// sentence, and the cluster goes on.
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

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

TEST_F(Refusals, APortThatAnotherMetaserverOfThisMachineHasOnAnotherAddressIsTakenOnTheNetworkAlone) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto port = c.address().substr(c.address().rfind(':'));
  auto log = c.scratch("log");
  test::Process other({program("cairn-metaserver"), "--dir", c.scratch("meta"), "--listen",
                       "127.0.0.2" + port, "--log-file", log, "--ready-file", c.scratch("ready")});
  EXPECT_TRUE(test::eventually(20s, [&]() { return std::filesystem::exists(c.scratch("ready")); }));
  EXPECT_OK(test::shell("grep 'cannot listen on .* -> only on the network' " + log));
  EXPECT_OK(c.sh("echo fine > f; cat f"));
  other.signal(SIGTERM);
  EXPECT_EQ(other.wait().code, 0);
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
    auto extent = request.initExtents(1)[0];
    extent.setOffset(offset);
    extent.setSize(8);
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

TEST_F(Refusals, EveryCommandSaysWhyItCannotAndChangesNothing) {
  auto& c = start({.chunkds = 1, .replicas = 1});
  auto dir = c.directory(), nowhere = c.scratch("nowhere");
  writeFile(c / "file", "content");
  writeFile(c.scratch("local"), "x");
  ASSERT_OK(c.sh("mkdir directory; mkfifo fifo"));
  struct Refusal {
    std::vector<std::string> words;
    int code;
    std::string says;
  };
  for (auto& [words, code, says] : std::vector<Refusal>{
           {{"no-such-command"}, 2, "A subcommand is required"},
           {{"status", "--dir", nowhere}, 1, "there is no cluster in"},
           {{"down", "--dir", nowhere}, 1, "there is no cluster in"},
           {{"status", "--metaserver", "127.0.0.1:1"}, 1, "127.0.0.1:1"},
           {{"info", c / "missing"}, 1, "No such file"},
           {{"append", "--data", "x", c / "fifo/inside"}, 1, "Not a directory"},
           {{"append", "--data", "x", "/dev/null"}, 1, "is not a regular file"},
           {{"drain", "99", "--no-wait", "--dir", dir}, 2, "there is no store 99"},
           {{"drain", "1", "--remove", "--dir", dir}, 1, "is connected. Nothing was changed"},
           {{"replicas", "2", c / "fifo"}, 1, "only files and directories have copies"},
           {{"quota", "set", c / "directory"}, 2, "say how much"},
           {{"quota", "set", c / "directory", "--bytes", "many"}, 2, "'many' is no amount"},
           {{"quota", "set", c / "file", "--bytes", "1G"}, 1, "is no directory"},
           {{"quota", "get", c / "directory"}, 1, "has no quota of its own"},
           {{"snapshot", c / "directory", "/"}, 2, "names no new directory"},
           {{"snapshot", c / "directory", c.scratch("copy")}, 1, "is not in a mounted CairnFS"},
           {{"snapshot", c / "directory", c / "file"}, 1, "exists. Nothing was changed"},
           {{"trash", "restore", "word", "--dir", dir}, 2, "is neither a number nor a path"},
           {{"trash", "restore", "4711", "--dir", dir}, 1, "is not in the trash"},
           {{"trash", "restore", "4711", "--to", nowhere + "/", "--dir", dir},
            1,
            "there is no such directory"},
           {{"trash", "purge", "--dir", dir}, 2, "say what is to go"},
           {{"trash", "purge", "4711", "--dir", dir}, 1, "none of these is in the trash"},
           {{"trash", "keep", c / "directory", "soon"}, 2, "'soon' is no duration"},
           {{"trash", "keep", c / "file", "7d"}, 1, "the metaserver answers"},
           {{"trash", "keep", c / "file"}, 1, "is no directory"},
       }) {
    auto finished = c.cairn(words);
    auto command = words[0] + (words.size() > 1 ? " " + words[1] : "");
    EXPECT_EQ(finished.code, code) << command << "\n" << finished.describe();
    EXPECT_NE((finished.err + finished.out).find(says), std::string::npos) << command << "\n"
                                                                           << finished.describe();
  }
  EXPECT_EQ(test::run({"/bin/sh", "-c", program("cairn") + " append " + (c / "file") + " <&-"}).code, 1);
  auto daemons = std::vector<std::vector<std::string>>{
      {"cairn-chunkd"},
      {"cairn-chunkd", "--store", nowhere, "--metaserver", "no port"},
      {"cairn-chunkd", "inspect", nowhere},
      {"cairn-metaserver"},
      {"cairn-metaserver", "--dir", nowhere, "--commit", "never"},
      {"cairn-metaserver", "inspect", nowhere},
      {"mount.cairn", "127.0.0.1:1", nowhere},
      {"mount.cairn", "127.0.0.1:1", c.scratch("local")},
      {"mount.cairn", "127.0.0.1:1", c.mount(), "-o", "read_ahead_kb=many"},
      {"mount.cairn", "127.0.0.1:1", c.mount(), "-o", "log_level=loud"},
  };
  std::vector<std::string> many{"cairn-chunkd"};
  for (int i = 0; i < 65; ++i) many.insert(many.end(), {"--store", nowhere + std::to_string(i)});
  daemons.push_back(many);
  for (auto& words : daemons) {
    words[0] = program(words[0]);
    auto finished = test::run(words, {.patience = 20s});
    EXPECT_FALSE(finished.ok()) << words[0];
    EXPECT_NE(finished.code, 124) << words[0] << " did not end by itself\n" << finished.describe();
    EXPECT_GT(finished.err.size() + finished.out.size(), 20u) << words[0];
  }
  EXPECT_FALSE(std::filesystem::exists(nowhere));
  EXPECT_EQ(readFile(c / "file"), "content");
  EXPECT_OK(c.sh("[ \"$(ls)\" = \"$(printf 'directory\\nfifo\\nfile')\" ]"));
}

}  // namespace
}  // namespace cairn::e2e
