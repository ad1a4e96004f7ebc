// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// Whatever the metaserver answers, a command of `cairn` says in a sentence what it means, and its exit code
// says so as well.
#include "rpc/administration.capnp.h"
#include "rpc/common.capnp.h"
#include "rpc/metaserver.capnp.h"
#include "test/e2e/answering_metaserver.h"
#include "test/e2e/mounts_fixture.h"

namespace cairn::e2e {
namespace {

using Answer = AnsweringMetaserver::Answer;

template <typename Interface>
Answer says(const std::string& method, const std::string& json) {
  return {.interface = capnp::Schema::from<Interface>(), .method = method, .json = json};
}

Answer admin(const std::string& method, const std::string& json) {
  return says<rpc::Administration>(method, json);
}

Answer once(Answer answer) {
  answer.times = 1;
  return answer;
}

Answer with(const std::string& object, Answer answer) {
  answer.object = object;
  return answer;
}

struct Case {
  std::vector<Answer> answers;
  std::vector<std::string> words;
  int code;
  std::string told;
};

class AnswersOfTheMetaserver : public Mounts {
  // The second mount, and so every command about what is in it, goes to `metaserver`.
 protected:
  std::unique_ptr<AnsweringMetaserver> metaserver;
  std::string at;  // the second mount

  void begin() {
    auto& c = start({.chunkds = 1, .replicas = 1});
    metaserver = std::make_unique<AnsweringMetaserver>(c.address());
    at = mountAnother(metaserver->address());
    ASSERT_OK(c.sh("mkdir d; echo content > f; sync f", {.patience = 20s}));
  }
  void TearDown() override {
    Mounts::TearDown();
    metaserver = nullptr;
  }
  void expect(const std::vector<Case>& cases) {
    for (auto& [answers, words, code, told] : cases) {
      std::string what;
      for (auto& word : words) what += word + " ";
      for (auto& one : answers) {
        metaserver->answer(one);
        what += "\n" + one.method + ": " + one.json;
      }
      auto finished = cluster->cairn(words, {.directory = cluster->scratch("")});
      metaserver->passAll();
      EXPECT_EQ(finished.code, code) << what << "\n" << finished.describe();
      EXPECT_NE((finished.err + finished.out).find(told), std::string::npos) << what << "\n"
                                                                             << finished.describe();
    }
  }
};

const std::string IO_ERROR = R"({"status": "ioError"})";

TEST_F(AnswersOfTheMetaserver, ToWhoAdministersAreSentences) {
  begin();
  auto to = metaserver->address();
  auto trashed = admin("trash", R"({"files": [{"id": {"inode": "4711"}, "path": "/gone"}]})");
  expect({
      {{says<rpc::Gate>("hello", R"({"status": "wrongProtocol", "message": "too old"})")},
       {"rebalance", "--metaserver", to},
       1,
       "refuses: too old"},
      {{admin("rebalance", "breaks")}, {"rebalance", "--metaserver", to}, 1, "does not answer"},
      {{admin("rebalance", IO_ERROR)}, {"rebalance", "--metaserver", to}, 1, "the metaserver answers"},
      {{admin("drain", IO_ERROR)}, {"drain", "1", "--metaserver", to}, 1, "the metaserver answers"},
      {{admin("drain", "{}")}, {"drain", "1", "--metaserver", to}, 1, "somebody has undone it"},
      {{admin("remove", R"({"status": "notEmpty", "chunks": 3})")},
       {"drain", "1", "--remove", "--metaserver", to},
       1,
       "3 chunks may be on store 1 and nowhere else. Nothing was changed"},
      {{admin("remove", IO_ERROR)},
       {"drain", "1", "--remove", "--metaserver", to},
       1,
       "the metaserver answers"},
      {{admin("image", R"({"status": "busy"})")},
       {"backup", cluster->scratch("a"), "--metaserver", to},
       1,
       "another backup is under way"},
      {{admin("image", IO_ERROR)},
       {"backup", cluster->scratch("b"), "--metaserver", to},
       1,
       "the metaserver answers"},
      {{says<rpc::Image>("read", R"({"data": [1, 2, 3], "checksum": 4})")},
       {"backup", cluster->scratch("c"), "--metaserver", to},
       1,
       "arrived damaged: the backup is not complete"},
      {{admin("checkpoint", IO_ERROR)}, {"checkpoint", "--metaserver", to}, 1, "see its log"},
      {{admin("check", R"({"status": "busy"})")}, {"fsck", "--metaserver", to}, 8, "another check"},
      {{admin("check", R"({"status": "notReady"})")}, {"fsck", "--metaserver", to}, 8, "safe mode"},
      {{admin("check", IO_ERROR)}, {"fsck", "--metaserver", to}, 8, "the metaserver answers"},
      {{admin("releaseKept", R"({"status": "notReady"})")},
       {"fsck", "--repair", "--drop-kept", "--metaserver", to},
       8,
       "does not let the kept chunks go"},
      {{admin("quotas", IO_ERROR)}, {"quota", "ls", "--metaserver", to}, 1, "the metaserver answers"},
      {{admin("trash", IO_ERROR)}, {"trash", "ls", "--metaserver", to}, 1, "the metaserver answers"},
      {{trashed, admin("restore", R"({"status": "overQuota"})")},
       {"trash", "restore", "4711", "--metaserver", to},
       1,
       "has no room for it. Nothing was changed"},
      {{trashed, admin("restore", R"({"status": "notFound"})")},
       {"trash", "restore", "4711", "--metaserver", to},
       1,
       "not in the trash any more"},
      {{trashed, admin("restore", IO_ERROR)},
       {"trash", "restore", "/gone", "--metaserver", to},
       1,
       "the metaserver answers"},
      {{trashed, admin("purgeTrash", IO_ERROR)},
       {"trash", "purge", "/", "--metaserver", to},
       1,
       "the metaserver answers"},
      {{}, {"status"}, 2, "Several are mounted here"},
  });
}

TEST_F(AnswersOfTheMetaserver, AboutFilesAreSentences) {
  begin();
  ASSERT_OK(cluster->sh("ln -s loop loop"));
  expect({
      {{says<rpc::Metaserver>("describeFile", R"({"status": "stale"})")},
       {"info", at + "/f"},
       1,
       "the metaserver answers"},
      {{admin("setReplicas", R"({"status": "notFound"})")},
       {"replicas", "1", at + "/f"},
       1,
       "the metaserver answers"},
      {{admin("setQuota", IO_ERROR)},
       {"quota", "set", at + "/d", "--bytes", "1G"},
       1,
       "the metaserver answers"},
      {{}, {"trash", "restore", at + "/loop"}, 1, "is not in the trash"},
      {{}, {"snapshot", at + "/d", *cluster / "copy"}, 1, "are not in the same CairnFS"},
      {{admin("snapshot", R"({"status": "overQuota"})")},
       {"snapshot", at + "/d", at + "/copy"},
       1,
       "has no room for it. Nothing was changed"},
      {{once(admin("snapshot", R"({"status": "notReady"})"))},
       {"snapshot", at + "/d", at + "/first"},
       0,
       "waiting until it knows who may be writing"},
      {{once(admin("snapshot", R"({"status": "busy", "underWay": true})"))},
       {"snapshot", at + "/d", at + "/second"},
       0,
       "another snapshot is being made"},
      {{with("copy", admin("snapshot", "{}")),
        says<rpc::TreeCopy>("next", R"({"done": true, "status": "busy"})")},
       {"snapshot", at + "/d", at + "/copy"},
       1,
       "could be made to wait"},
      {{with("copy", admin("snapshot", "{}")), says<rpc::TreeCopy>("next", "breaks")},
       {"snapshot", at + "/d", at + "/copy"},
       1,
       "The snapshot was given up"},
      {{says<rpc::Session>("open", R"({"status": "ioError"})")},
       {"append", at + "/f", "--data", "x"},
       1,
       "the record was not appended"},
      {{says<rpc::Session>("locate", R"({"status": "overQuota"})")},
       {"append", at + "/new", "--data", "x"},
       1,
       "the record was not appended"},
      {{says<rpc::Session>("sync", R"({"status": "ioError"})")},
       {"append", at + "/f", "--data", "x", "--sync"},
       1,
       "but not on stable storage"},
      {{says<rpc::Gate>("hello", R"({"status": "wrongProtocol", "message": "too old"})")},
       {"append", at + "/f", "--data", "x"},
       1,
       "too old"},
  });
  EXPECT_OK(cluster->sh("test -d first && test -d second && test ! -e copy", {.patience = 20s}));
}

}  // namespace
}  // namespace cairn::e2e
