// SPDX-License-Identifier: Apache-2.0
// Copyright 2026 the CairnFS authors
//
// See workload.h.
#include "test/sim/cluster/workload.h"

#include <kj/debug.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "rpc/coroutine.h"

namespace cairn::sim {

namespace {
constexpr uint32_t PIECE = 1 << 20;
constexpr uint64_t BOUNDARY_WIDTH = 96 << 10;
}  // namespace

Async<Result<kj::Array<kj::byte>>> readAll(OpenFile& file, uint64_t offset, uint64_t size) {
  kj::Vector<kj::byte> all;
  while (all.size() < size) {
    auto want = uint32_t(kj::min(size - all.size(), uint64_t(PIECE)));
    auto answer = co_await file.read(FileOffset(offset + all.size()), want);
    if (!answer.ok()) co_return answer.status();
    size_t got = 0;
    for (auto piece : answer->pieces) {
      all.addAll(piece);
      got += piece.size();
    }
    if (got < want) break;
  }
  co_return all.releaseAsArray();
}

struct Workload::File {
  InodeId inode;
  FileOracle oracle;
  kj::Own<OpenFile> open;  // null: its worker has closed it
  uint32_t observers = 0;  // other workers that read it now: nothing old is ruled out meanwhile
  bool unlinked = false;

  bool isOpen() const { return open.get() != nullptr; }
  bool interrupted = false;  // by a power cut since the last sync that returned: bytes may be lost
  bool settleLater = false;  // what is written is certain once the observers have left
  void settle() {
    if (observers == 0) oracle.settle();
    settleLater = observers > 0;
  }
  void leave() {
    if (--observers == 0 && settleLater) oracle.settle();
    if (observers == 0) settleLater = false;
  }
};

class Workload::Worker {
 public:
  Worker(Workload& workload, uint32_t client, kj::String name, SeededEntropy entropy)
      : workload(workload), client(client), name(kj::mv(name)), entropy(entropy) {}

  Workload& workload;
  const uint32_t client;
  const kj::String name;
  Filesystem* filesystem = nullptr;
  InodeId directory;
  using Files = std::map<std::string, std::shared_ptr<File>>;
  Files files;

  Async<void> work();  // from wherever it was
  Async<void> verify(Filesystem& fresh);
  void die();
  kj::Promise<void> running = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> finished;
  kj::Promise<void> whenFinished = nullptr;

  struct Doubt {
    Files after;  // what the names are if the operation under way was carried out
    kj::String what;
  };
  kj::Maybe<Doubt> doubt;

  // With Names::BY_SYNC: what the names have been since a sync made them certain, the last is `files`.
  std::vector<Files> history;
  bool unsure = false;  // a power cut may have taken them back to any of these
  bool isMakingSure = false;
  bool lostNames = false;  // maybe, and no sync of the directory has told so
  bool mustTell = false;   // certainly
  bool hasTold = false;    // a sync that the latest power cut came into did
  void powerFails();
  bool mayBeTakenBack() const { return unsure || isMakingSure; }  // or have been, and not know yet

 private:
  SeededEntropy entropy;
  uint32_t step = 0;

  template <typename... Parts>
  void say(Parts&&... parts) {
    workload.transcript.say(name, kj::str(kj::fwd<Parts>(parts)...));
  }
  template <typename... Parts>
  void violated(Parts&&... parts) {
    workload.violated(name, kj::str(kj::fwd<Parts>(parts)...));
  }
  bool expect(Status status, kj::StringPtr what) {
    if (status != Status::OK && !unsure) violated(what, " failed: ", status);
    return status == Status::OK;
  }

  std::string anyName() { return "f" + std::to_string(entropy.below(workload.options.filesMax)); }
  Files::iterator anyFile() { return std::next(files.begin(), long(entropy.below(files.size()))); }

  Async<void> settleDown();
  using Step = std::function<std::optional<Files>(const Files&)>;  // nothing: it is refused
  Step underWay;  // of the operation that a power cut came into
  Async<void> makeSure();
  Async<void> expectTold(size_t kept, const Files& state);
  bool bySync() const { return workload.options.names == WorkloadOptions::Names::BY_SYNC; }
  void named() {
    if (bySync()) history.push_back(files);
  }
  void certain() {
    if (bySync() && !unsure) history = {files};
  }
  Async<void> syncNames();
  Async<void> doOne();
  Async<void> create();
  Async<void> write(std::shared_ptr<File> file, std::string fileName);
  Async<void> read(std::shared_ptr<File> file, std::string fileName);
  Async<void> flush(std::shared_ptr<File> file, std::string fileName);
  Async<void> sync(std::shared_ptr<File> file, std::string fileName);
  bool flushSettles() const { return workload.options.settled == WorkloadOptions::Settled::BY_FLUSH; }
  Async<void> truncate(std::shared_ptr<File> file, std::string fileName);
  Async<void> reopen(std::shared_ptr<File> file, std::string fileName);
  Async<void> rename();
  Async<void> unlink();
  Async<void> list();
  Async<void> visit();
  Async<void> openIfClosed(std::shared_ptr<File> file);
  Async<void> flushAll();
  Async<Result<std::map<std::string, InodeId>>> listing(Filesystem& filesystem);
  bool matches(const Files& expected, const std::map<std::string, InodeId>& listed) const;
  static kj::String show(const Files& expected);
};

kj::String Workload::Worker::show(const Files& expected) {
  kj::Vector<kj::String> parts;
  for (auto& [fileName, file] : expected) parts.add(kj::str(fileName.c_str(), "=", file->inode));
  return kj::strArray(parts, " ");
}

bool Workload::Worker::matches(const Files& expected, const std::map<std::string, InodeId>& listed) const {
  if (expected.size() != listed.size()) return false;
  return std::all_of(expected.begin(), expected.end(), [&](auto& entry) {
    auto found = listed.find(entry.first);
    return found != listed.end() && (!entry.second->inode || entry.second->inode == found->second);
  });
}

Async<Result<std::map<std::string, InodeId>>> Workload::Worker::listing(Filesystem& fs) {
  std::map<std::string, InodeId> listed;
  uint64_t cookie = 0;
  for (;;) {
    // Few at a time: the seams between pages are part of the test.
    auto page = co_await fs.readDirectory(directory, cookie, 4, Detail::ATTRIBUTES);
    if (!page.ok()) co_return page.status();
    for (auto& entry : page->entries) {
      if (entry.name == "." || entry.name == "..") continue;
      if (!listed.emplace(entry.name.cStr(), entry.attributes.inode).second) {
        violated("the listing has ", entry.name, " twice");
      }
      cookie = entry.cookie;
    }
    if (page->more == DirectoryPage::More::NO || page->entries.size() == 0) break;
  }
  co_return kj::mv(listed);
}

Async<void> Workload::Worker::settleDown() {
  // At the start, and after the death of the client: find the directory, and learn what of the operation
  // under way was done.
  for (;;) {
    auto found = co_await filesystem->lookup(ROOT_INODE, name);
    if (!found.ok() && found.status() == Status::NOT_FOUND && !directory) {
      found = co_await filesystem->make(ROOT_INODE, name, {.type = FileType::DIRECTORY, .mode = 0755}, {});
      if (!found.ok() && found.status() == Status::EXISTS)
        found = co_await filesystem->lookup(ROOT_INODE, name);
    }
    if (!expect(found.status(), "finding its directory")) co_return;
    // Names in it are certain with a sync of it, its own with one of the root.
    auto certain = Status::OK;
    if (bySync()) certain = co_await filesystem->syncNames(ROOT_INODE);
    if (ok(certain)) {
      directory = found->inode;
      break;
    }
  }
  auto listed = co_await listing(*filesystem);
  if (!expect(listed.status(), "listing after the start")) co_return;
  KJ_IF_MAYBE (open, doubt) {
    if (!matches(files, *listed)) {
      if (matches(open->after, *listed)) {
        say("after the restart: ", open->what, " was done");
        files = kj::mv(open->after);
      }
    }
    doubt = nullptr;
  }
  if (!matches(files, *listed)) violated("after the restart names are not ", show(files));
  for (auto& [fileName, file] : files) {
    auto& at = (*listed)[fileName];
    if (!file->inode) file->inode = at;
  }
}

void Workload::Worker::powerFails() {
  auto lengths = bySync() ? FileOracle::Lengths::IN_DOUBT : FileOracle::Lengths::CERTAIN;
  auto interrupt = [lengths](Files& state) {
    for (auto& [fileName, file] : state) {
      file->oracle.interrupt(lengths);
      file->interrupted = true;
    }
  };
  interrupt(files);
  for (auto& state : history) interrupt(state);
  KJ_IF_MAYBE (open, doubt) interrupt(open->after);
  hasTold = false;
  if (bySync()) unsure = lostNames = true;
}

Async<void> Workload::Worker::makeSure() {
  // After a power cut: which of the moments since the last sync is it that the names are as of, and has the
  // operation that was under way been done after that?
  isMakingSure = true;
  KJ_DEFER(isMakingSure = false);
  while (unsure && workload.found.size() == 0) {
    unsure = false;
    auto listed = co_await listing(*filesystem);
    if (unsure) continue;  // another one
    if (!expect(listed.status(), "listing after a power cut")) co_return;
    bool isFound = false;
    for (size_t i = history.size(); i > 0 && !isFound; --i) {
      auto state = history[i - 1];
      std::optional<Files> after;
      if (underWay) after = underWay(state);
      isFound = matches(state, *listed);
      if (!isFound && after && matches(*after, *listed)) {
        state = *after;
        isFound = true;
      }
      if (!isFound) continue;
      if (i < history.size()) {
        ++workload.rolledBack;
        say("the power cut has taken ", history.size() - i, " changes of names");
        mustTell = !hasTold;
        co_await expectTold(i, state);
        if (unsure) break;
      }
      for (auto& earlier : history) {
        for (auto& [fileName, file] : earlier) file->unlinked = true;
      }
      for (auto& [fileName, file] : files) file->unlinked = true;
      files = kj::mv(state);
      for (auto& [fileName, file] : files) {
        file->unlinked = false;
        if (!file->inode) file->inode = (*listed)[fileName];
      }
    }
    if (unsure) continue;
    underWay = nullptr;
    if (!isFound) {
      kj::Vector<kj::String> states;
      for (auto& state : history) states.add(show(state));
      violated("after a power cut the names are none that they have been since the last sync: ",
               kj::strArray(states, "; "));
      co_return;
    }
    for (auto& [fileName, file] : files) {  // also what was written before its client knew
      file->oracle.interrupt(FileOracle::Lengths::IN_DOUBT);
      file->interrupted = true;
    }
    history = {files};  // what a start has read from the log is on stable storage
  }
}

Async<void> Workload::Worker::expectTold(size_t kept, const Files& state) {
  // Files that were made after what is left of `history`: their syncs must not say that all is well.
  std::set<std::shared_ptr<File>> there;
  for (size_t i = 0; i < kept; ++i) {
    for (auto& [fileName, file] : history[i]) there.insert(file);
  }
  for (auto& [fileName, file] : state) there.insert(file);
  auto before = files;
  for (auto& [fileName, file] : before) {
    if (there.count(file) != 0 || !file->isOpen()) continue;
    auto status = co_await file->open->sync();
    say("sync of ", fileName.c_str(), ", which is lost -> ", status);
    if (status == Status::OK && !unsure) {
      violated("inode ", file->inode, " was lost with the power, and its sync says that all is well");
    }
  }
}

Async<void> Workload::Worker::syncNames() {
  auto status = co_await filesystem->syncNames(directory);
  say("sync of the directory -> ", status);
  if (unsure) {
    // It was sent again, or answered late: what it says is said of all that is lost.
    if (status == Status::IO_ERROR) {
      hasTold = true;
      mustTell = false;
    }
    co_return;
  }
  if (status == Status::OK && mustTell)
    violated("names were lost, and the sync of their directory is silent");
  mustTell = false;
  if (status == Status::OK) {
    lostNames = false;
    certain();
  } else if (status == Status::IO_ERROR && lostNames) {
    lostNames = false;  // told once
    ++workload.losses;
  } else {
    expect(status, "sync of the directory");
  }
}

Async<void> Workload::Worker::work() {
  co_await settleDown();
  history = {files};
  auto began = workload.timer.now();
  auto lasts = workload.options.lasts;
  auto isOver = [&]() {
    return lasts > 0 * kj::SECONDS ? workload.timer.now() - began >= lasts
                                   : step >= workload.options.operations;
  };
  while (!isOver() && workload.found.size() == 0) {
    auto pause = int64_t(entropy.below(uint64_t(workload.options.pauseMax / kj::MICROSECONDS) + 1));
    co_await workload.timer.afterDelay(pause * kj::MICROSECONDS);
    co_await workload.options.waking.wait(workload.timer);
    ++step;
    co_await makeSure();
    co_await doOne();
    ++workload.done;
  }
  co_await flushAll();
  finished->fulfill();
}

Async<void> Workload::Worker::doOne() {
  underWay = nullptr;
  auto dice = entropy.below(100);
  if (bySync() && dice >= 97) co_return co_await syncNames();
  if (files.empty() || dice < 8) co_return co_await create();
  if (dice < 12) co_return co_await rename();
  if (dice < 15) co_return co_await unlink();
  if (dice < 18) co_return co_await list();
  if (dice < 26) co_return co_await visit();
  auto [fileName, file] = *anyFile();
  co_await openIfClosed(file);
  if (!file->isOpen()) co_return;
  if (dice < 60) co_return co_await write(file, fileName);
  if (dice < 80) co_return co_await read(file, fileName);
  if (dice < 90) co_return co_await flush(file, fileName);
  if (dice < 95) co_return co_await truncate(file, fileName);
  co_await reopen(file, fileName);
}

Async<void> Workload::Worker::openIfClosed(std::shared_ptr<File> file) {
  if (file->isOpen()) co_return;
  auto opened = co_await filesystem->open(file->inode);
  if (expect(opened.status(), "open")) file->open = kj::mv(*opened);
}

Async<void> Workload::Worker::create() {
  auto fileName = anyName();
  bool there = files.count(fileName) != 0;
  auto file = std::make_shared<File>();
  if (!there) {
    auto after = files;
    after[fileName] = file;
    doubt = Doubt{kj::mv(after), kj::str("create ", fileName.c_str())};
  }
  underWay = [file, fileName](const Files& state) -> std::optional<Files> {
    if (state.count(fileName) != 0) return {};
    auto after = state;
    after[fileName] = file;
    return after;
  };
  auto made = co_await filesystem->create(directory, fileName.c_str(), 0644, {}, {}, true);
  say("create ", fileName.c_str(), " -> ", made.status());
  if (unsure) co_return;
  if (there) {
    if (made.status() != Status::EXISTS)
      violated("create of the existing ", fileName.c_str(), ": ", made.status());
    co_return;
  }
  doubt = nullptr;
  if (!expect(made.status(), "create")) co_return;
  file->open = kj::mv(*made);
  file->inode = file->open->inode();
  files[fileName] = file;
  named();
}

Async<void> Workload::Worker::write(std::shared_ptr<File> file, std::string fileName) {
  uint64_t size, offset;
  auto dice = entropy.below(100);
  if (dice < 15)
    size = entropy.between(1, 16);
  else if (dice < 60)
    size = entropy.between(1, 8192);
  else if (dice < 90)
    size = entropy.between(1, 128 << 10);
  else
    size = entropy.between(1, 3 << 19);
  if (entropy.percent(workload.options.nearBoundaryPercent)) {
    offset = CHUNK_SIZE - BOUNDARY_WIDTH + entropy.below(2 * BOUNDARY_WIDTH);
  } else {
    offset = entropy.below(kj::min(file->oracle.size(), uint64_t(1) << 20) + (64 << 10));
    if (entropy.percent(40)) offset = offset / BLOCK_SIZE * BLOCK_SIZE;
  }
  auto number = ++workload.lastWrite;
  auto bytes = kj::heap<kj::Array<kj::byte>>(kj::heapArray<kj::byte>(size));
  fillWith(number, offset, *bytes);
  auto view = bytes->asPtr();
  file->settleLater = false;
  file->oracle.write(offset, size, number);
  auto status = co_await file->open->write(FileOffset(offset), Bytes{view, kj::mv(bytes)});
  say("write #", number, " ", fileName.c_str(), " ", offset, "+", size, " -> ", status);
  expect(status, "write");
}

Async<void> Workload::Worker::read(std::shared_ptr<File> file, std::string fileName) {
  auto end = file->oracle.size();
  auto offset = entropy.below(end + 1);
  if (end > CHUNK_SIZE && entropy.percent(50))
    offset = CHUNK_SIZE - BOUNDARY_WIDTH + entropy.below(BOUNDARY_WIDTH);
  auto size = entropy.percent(20) ? entropy.between(1, 2 << 20) : entropy.between(1, 100'000);
  auto answer = co_await readAll(*file->open, offset, size);
  say("read ", fileName.c_str(), " ", offset, "+", size, " -> ", answer.status());
  if (!expect(answer.status(), "read")) co_return;
  if (unsure) co_return;  // what it was as of is not known yet
  if (auto wrong = file->oracle.judge(Viewer::WRITER, offset, size, *answer)) {
    violated("read of ", fileName.c_str(), " ", offset, "+", size, ": ", *wrong);
  }
  if (auto wrong = file->oracle.judgeSize(Viewer::WRITER, file->open->attributes().size)) {
    violated("stat of ", fileName.c_str(), ": ", *wrong);
  }
}

Async<void> Workload::Worker::flush(std::shared_ptr<File> file, std::string fileName) {
  if (entropy.percent(40)) co_return co_await sync(file, fileName);
  auto status = co_await file->open->flush();
  say("flush ", fileName.c_str(), " -> ", status);
  if (expect(status, "flush") && flushSettles()) file->settle();
}

Async<void> Workload::Worker::sync(std::shared_ptr<File> file, std::string fileName) {
  bool mayBeLost = file->interrupted;
  file->interrupted = false;
  auto status = co_await file->open->sync();
  say("sync ", fileName.c_str(), " -> ", status);
  if (status == Status::IO_ERROR && (mayBeLost || file->interrupted)) {
    file->oracle.giveUp();
    ++workload.losses;
  } else if (expect(status, "sync")) {
    file->settle();
    certain();
  }
}

Async<void> Workload::Worker::truncate(std::shared_ptr<File> file, std::string fileName) {
  auto size = entropy.below(file->oracle.size() + 1);
  if (entropy.percent(30)) size += entropy.below(100'000);
  file->settleLater = false;
  file->oracle.truncate(size);
  AttributeChange change;
  change.size = size;
  auto answer = co_await filesystem->setAttributes(file->inode, kj::mv(change));
  say("truncate ", fileName.c_str(), " to ", size, " -> ", answer.status());
  if (!expect(answer.status(), "truncate") || unsure) co_return;
  if (auto wrong = file->oracle.judgeSize(Viewer::WRITER, answer->size)) {
    violated("truncate of ", fileName.c_str(), " to ", size, ": ", *wrong);
  }
}

Async<void> Workload::Worker::reopen(std::shared_ptr<File> file, std::string fileName) {
  auto status = co_await file->open->flush();
  if (expect(status, "flush before close") && flushSettles()) file->settle();
  file->open = nullptr;
  co_await openIfClosed(file);
  say("reopen ", fileName.c_str());
}

Async<void> Workload::Worker::rename() {
  auto from = anyFile()->first, to = anyName();
  auto after = files;
  auto moved = after[from];
  after.erase(from);
  if (from == to) {
    after[to] = moved;
  } else {
    if (after.count(to) != 0) after[to]->unlinked = true;
    after[to] = moved;
  }
  doubt = Doubt{after, kj::str("rename ", from.c_str(), " to ", to.c_str())};
  underWay = [from, to](const Files& state) -> std::optional<Files> {
    auto found = state.find(from);
    if (found == state.end()) return {};
    auto renamed = state;
    renamed.erase(from);
    renamed[to] = found->second;
    return renamed;
  };
  auto status = co_await filesystem->rename(directory, from.c_str(), directory, to.c_str(), 0, Credentials{});
  say("rename ", from.c_str(), " ", to.c_str(), " -> ", status);
  doubt = nullptr;
  if (unsure) co_return;
  if (!expect(status, "rename")) co_return;
  files = kj::mv(after);
  named();
}

Async<void> Workload::Worker::unlink() {
  auto fileName = anyFile()->first;
  auto after = files;
  after[fileName]->unlinked = true;
  after.erase(fileName);
  doubt = Doubt{after, kj::str("unlink ", fileName.c_str())};
  underWay = [fileName](const Files& state) -> std::optional<Files> {
    if (state.count(fileName) == 0) return {};
    auto left = state;
    left.erase(fileName);
    return left;
  };
  auto status = co_await filesystem->unlink(directory, fileName.c_str(), {});
  say("unlink ", fileName.c_str(), " -> ", status);
  doubt = nullptr;
  if (unsure) co_return;
  if (!expect(status, "unlink")) co_return;
  files = kj::mv(after);
  named();
}

Async<void> Workload::Worker::list() {
  auto listed = co_await listing(*filesystem);
  say("list -> ", listed.status());
  if (expect(listed.status(), "list") && !unsure && !matches(files, *listed))
    violated("the listing is not ", show(files));
}

Async<void> Workload::Worker::visit() {
  // Opens a file of another worker and reads a part: what was flushed before must be there.
  auto& host = *workload.workers[entropy.below(workload.workers.size())];
  if (&host == this || host.files.empty()) co_return;
  auto [fileName, file] = *host.anyFile();
  if (!file->inode || file->unlinked) co_return;
  ++file->observers;
  KJ_DEFER(file->leave());
  auto opened = co_await filesystem->open(file->inode);
  if (!opened.ok()) {
    bool gone = file->unlinked && (opened.status() == Status::STALE || opened.status() == Status::NOT_FOUND);
    if (!gone && !host.mayBeTakenBack() && !unsure)
      violated("open of ", host.name, "/", fileName.c_str(), ": ", opened.status());
    co_return;
  }
  if (host.mayBeTakenBack() || unsure) co_return;
  if (auto wrong = file->oracle.judgeSize(Viewer::OTHER, (*opened)->attributes().size)) {
    if (host.client != client) violated("stat of ", host.name, "/", fileName.c_str(), ": ", *wrong);
  }
  auto offset = entropy.below(file->oracle.size() + 1), size = entropy.between(1, 300'000);
  auto answer = co_await readAll(**opened, offset, size);
  say("read ", host.name, "/", fileName.c_str(), " ", offset, "+", size, " -> ", answer.status());
  if (host.mayBeTakenBack() || unsure) co_return;
  if (!answer.ok()) {
    if (!file->unlinked) violated("read of ", host.name, "/", fileName.c_str(), ": ", answer.status());
    co_return;
  }
  if (auto wrong = file->oracle.judge(Viewer::OTHER, offset, size, *answer)) {
    violated("read of ", host.name, "/", fileName.c_str(), " ", offset, "+", size, ": ", *wrong);
  }
}

Async<void> Workload::Worker::flushAll() {
  for (bool isSure = !bySync(); !isSure && workload.found.size() == 0;) {
    co_await makeSure();
    co_await syncNames();
    isSure = !unsure && !lostNames;
  }
  auto snapshot = files;
  for (auto& [fileName, file] : snapshot) {
    if (!file->isOpen()) continue;
    co_await sync(file, fileName);
    file->open = nullptr;
  }
}

void Workload::Worker::die() {
  running = nullptr;
  KJ_IF_MAYBE (open, doubt) {
    for (auto& [fileName, file] : open->after) file->open = nullptr;
  }
  for (auto& [fileName, file] : files) {
    file->oracle.lose();
    file->open = nullptr;
  }
}

Async<void> Workload::Worker::verify(Filesystem& fresh) {
  auto listed = co_await listing(fresh);
  if (!expect(listed.status(), "the last listing")) co_return;
  if (!matches(files, *listed)) {
    violated("in the end names are not ", show(files));
    co_return;
  }
  for (auto& [fileName, file] : files) {
    auto opened = co_await fresh.open(file->inode);
    if (!expect(opened.status(), "the last open")) continue;
    if (auto wrong = file->oracle.judgeSize(Viewer::OTHER, (*opened)->attributes().size)) {
      violated("in the end ", fileName.c_str(), ": ", *wrong);
    }
    // Where something was written, and some zeros around: a sparse file has 64 MiB of them.
    auto end = file->oracle.size();
    struct Part {
      uint64_t offset, size;
    };
    constexpr uint64_t NEAR = 4 << 20;
    std::vector<Part> parts = {{0, kj::min(end + 1, NEAR)}};
    if (end > NEAR)
      parts.push_back({kj::max(NEAR, CHUNK_SIZE - NEAR), end + 1 - kj::max(NEAR, CHUNK_SIZE - NEAR)});
    for (auto part : parts) {
      if (part.offset > end) continue;
      auto answer = co_await readAll(**opened, part.offset, part.size);
      if (!expect(answer.status(), "the last read")) continue;
      if (auto wrong = file->oracle.judge(Viewer::OTHER, part.offset, part.size, *answer)) {
        violated("in the end ", fileName.c_str(), " ", part.offset, "+", part.size, ": ", *wrong);
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------

Workload::Workload(kj::Timer& timer, Transcript& transcript, WorkloadOptions options)
    : timer(timer), transcript(transcript), options(options) {}
Workload::~Workload() noexcept(false) {}

void Workload::addClient(Filesystem& client) {
  SeededEntropy entropy(options.seed * 1000 + clients);
  for (uint32_t i = 0; i < options.workersPerClient; ++i) {
    auto name = kj::str("worker-", clients + 1, char('a' + i));
    auto worker = kj::heap<Worker>(*this, clients, kj::mv(name), entropy.fork());
    worker->filesystem = &client;
    auto paf = kj::newPromiseAndFulfiller<void>();
    worker->finished = kj::mv(paf.fulfiller);
    worker->whenFinished = kj::mv(paf.promise);
    workers.push_back(kj::mv(worker));
  }
  ++clients;
}

kj::Promise<void> Workload::run() {
  kj::Vector<kj::Promise<void>> all;
  for (auto& worker : workers) {
    worker->running = worker->work().eagerlyEvaluate([this, &worker = *worker](kj::Exception&& exception) {
      violated(worker.name, kj::str("an exception: ", exception));
      worker.finished->fulfill();
    });
    all.add(kj::mv(worker->whenFinished));
  }
  return kj::joinPromises(all.releaseAsArray());
}

void Workload::clientDies(uint32_t client) {
  for (auto& worker : workers) {
    if (worker->client == client) worker->die();
  }
}

void Workload::powerFails() {
  for (auto& worker : workers) worker->powerFails();
}

void Workload::clientIsBack(uint32_t client, Filesystem& filesystem) {
  for (auto& worker : workers) {
    if (worker->client != client) continue;
    worker->filesystem = &filesystem;
    if (!worker->finished->isWaiting()) continue;
    worker->running = worker->work().eagerlyEvaluate([this, &worker = *worker](kj::Exception&& exception) {
      violated(worker.name, kj::str("an exception: ", exception));
      worker.finished->fulfill();
    });
  }
}

Async<void> Workload::verify(Filesystem& fresh) {
  for (auto& worker : workers) co_await worker->verify(fresh);
}

std::vector<InodeId> Workload::inodes() const {
  std::vector<InodeId> all;
  for (auto& worker : workers) {
    for (auto& [fileName, file] : worker->files) all.push_back(file->inode);
  }
  return all;
}

void Workload::violated(kj::StringPtr who, kj::String what) {
  transcript.say(who, kj::str("VIOLATION: ", what));
  found.add(kj::str(who, ": ", what));
}

}  // namespace cairn::sim
