// What one call of TranslateRows computes in: buffers and prepared products, which take longer to
// make than a short sentence to translate.
//
// They are kept in the process between calls, a few of them, found again by the shape of what they
// were made for and never by an address: the model's numbers and weights are set anew for each
// call.
#ifndef KERAS_INT8NMT_DECODER_WORKSPACES_H_
#define KERAS_INT8NMT_DECODER_WORKSPACES_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gemm/float_gemm.h"
#include "stream.h"

namespace keras_int8nmt {

class Workspace {
 public:
  struct Key {
    std::string structure;
    std::vector<int64_t> sizes;

    bool operator==(const Key& other) const {
      return sizes == other.sizes && structure == other.structure;
    }
  };

  // `structure` is the model's, and with it everything that a stream allocates and prepares beside
  // `search`, `options` and whether the projection's back end hands over top k.
  static Key KeyOf(const std::string& structure, const Model& model, const SearchOptions& search,
                   const StreamOptions& options) {
    const Linear& last = model.projection;
    const bool fused = last.int8 && last.packed.backend->top_k != nullptr;
    return {structure,
            {fused, search.beam_size, search.num_hypotheses, search.max_length, options.batch_size,
             options.max_source}};
  }

  Workspace(Key key, const Model& model, const SearchOptions& search, const StreamOptions& options)
      : key_(std::move(key)),
        model_(model),
        search_(search),
        team_(1, [](int) {}),
        stream_(model_, search_, options, &team_, &profile_) {}

  const Key& key() const { return key_; }

  // Translates in the calling thread what `queue` has. Model and search are of the key.
  void Run(const Model& model, const SearchOptions& search, RequestQueue* queue) {
    model_ = model;
    search_ = search;
    // A model that is INT8 throughout leaves oneDNN and OpenMP alone.
    if (!model_.int8()) SetFloatThreads(team_.size());
    stream_.Run(queue);
  }

 private:
  Key key_;
  Model model_;
  SearchOptions search_;
  ThreadTeam team_;
  Profile profile_;
  Stream stream_;
};

class Workspaces {
 public:
  // Of the process; never destroyed, since calls may outlive the end of main.
  static Workspaces& Get() {
    static auto* const all = new Workspaces;
    return *all;
  }

  // One that nobody else has, or null.
  std::unique_ptr<Workspace> Take(const Workspace::Key& key) {
    const std::lock_guard<std::mutex> hold(lock_);
    for (auto it = idle_.rbegin(); it != idle_.rend(); ++it) {
      if (!((*it)->key() == key)) continue;
      std::unique_ptr<Workspace> found = std::move(*it);
      idle_.erase(std::next(it).base());
      return found;
    }
    return nullptr;
  }

  // The one that was used longest ago makes room.
  void Give(std::unique_ptr<Workspace> workspace) noexcept {
    std::unique_ptr<Workspace> old;
    const std::lock_guard<std::mutex> hold(lock_);
    if (idle_.size() == kMost) {
      old = std::move(idle_.front());
      idle_.erase(idle_.begin());
    }
    idle_.push_back(std::move(workspace));
  }

 private:
  static constexpr size_t kMost = 4;

  // Giving back must not allocate.
  Workspaces() { idle_.reserve(kMost); }

  std::mutex lock_;
  std::vector<std::unique_ptr<Workspace>> idle_;  // the last used is last
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_WORKSPACES_H_
