// safetensors and model files.
#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>

#include "bindings.h"

namespace rnncore::python {
namespace {

py::dict to_dict(const NamedTensors& tensors) {
  py::dict result;
  for (const auto& [name, tensor] : tensors) result[py::str(name)] = tensor;
  return result;
}

std::string path_of(const py::object& path) {  // str or os.PathLike
  return py::module_::import("os").attr("fspath")(path).cast<std::string>();
}

using Characters = std::optional<std::tuple<std::int64_t, std::int64_t, RecurrentSpec>>;

CharacterSpec to_characters(const Characters& given) {
  CharacterSpec characters;
  if (given) std::tie(characters.vocab_size, characters.embedding_size, characters.recurrent) = *given;
  return characters;
}

Characters from_characters(const CharacterSpec& characters) {
  if (characters.vocab_size == 0) return std::nullopt;
  return std::make_tuple(characters.vocab_size, characters.embedding_size, characters.recurrent);
}

using Softmax = std::tuple<std::string, std::vector<std::int64_t>, double>;  // kind, cutoffs, div_value

SoftmaxSpec to_softmax(const std::optional<Softmax>& given) {
  SoftmaxSpec softmax;
  if (!given) return softmax;
  softmax.kind = softmax_kind_from_name(std::get<0>(*given));
  std::tie(std::ignore, softmax.cutoffs, softmax.div_value) = *given;
  return softmax;
}

void bind_model_spec(py::module_& m) {
  py::class_<ModelSpec>(m, "ModelSpec", "What a whole model is; stored in its file.")
      .def(py::init([](std::int64_t vocab_size, std::int64_t embedding_size, const RecurrentSpec& recurrent,
                       bool tie_weights, double dropout, const std::string& kind, const std::string& pooling,
                       std::int64_t output_size, const Characters& characters, bool crf, bool bio,
                       const std::optional<Softmax>& softmax, std::int64_t projection_size) {
             ModelSpec spec;
             spec.kind = model_kind_from_name(kind);
             spec.vocab_size = vocab_size;
             spec.embedding_size = embedding_size;
             spec.recurrent = recurrent;
             spec.pooling = pooling_from_name(pooling);
             spec.output_size = output_size;
             spec.tie_weights = tie_weights;
             spec.dropout = dropout;
             spec.characters = to_characters(characters);
             spec.crf = crf;
             spec.bio = bio;
             spec.softmax = to_softmax(softmax);
             spec.projection_size = projection_size;
             check(spec);
             return spec;
           }),
           py::kw_only(), py::arg("vocab_size") = 0, py::arg("embedding_size") = 0, py::arg("recurrent"),
           py::arg("tie_weights") = false, py::arg("dropout") = 0.0, py::arg("kind") = "language_model",
           py::arg("pooling") = "none", py::arg("output_size") = 0, py::arg("characters") = py::none(),
           py::arg("crf") = false, py::arg("bio") = false, py::arg("softmax") = py::none(),
           py::arg("projection_size") = 0)
      .def_property_readonly("kind", [](const ModelSpec& spec) { return name_of(spec.kind); })
      .def_property_readonly("pooling", [](const ModelSpec& spec) { return name_of(spec.pooling); })
      .def_property_readonly("output_size", &ModelSpec::outputs)
      .def_readonly("vocab_size", &ModelSpec::vocab_size)
      .def_readonly("embedding_size", &ModelSpec::embedding_size)
      .def_readonly("recurrent", &ModelSpec::recurrent)
      .def_readonly("tie_weights", &ModelSpec::tie_weights)
      .def_readonly("dropout", &ModelSpec::dropout)
      .def_readonly("projection_size", &ModelSpec::projection_size)
      .def_property_readonly("characters", [](const ModelSpec& spec) { return from_characters(spec.characters); })
      .def_readonly("crf", &ModelSpec::crf)
      .def_readonly("bio", &ModelSpec::bio)
      .def_property_readonly("softmax",
                             [](const ModelSpec& spec) {
                               const SoftmaxSpec& softmax = spec.softmax;
                               return Softmax(name_of(softmax.kind), softmax.cutoffs, softmax.div_value);
                             })
      .def("parameters",
           [](const ModelSpec& spec) {
             py::list result;
             for (const ParameterInfo& p : parameters_of(spec))
               result.append(py::make_tuple(p.name, shape_tuple(p.shape), p.fan_hidden));
             return result;
           })
      .def(
          "draw",
          [](const ModelSpec& spec, Generator& generator, const py::object& dtype) {
            return to_dict(Model(spec, generator, to_dtype(dtype)).named_parameters());
          },
          py::arg("generator"), py::arg("dtype") = "float32", "Fresh parameters by name, as Model in C++ begins with.")
      .def("to_json", [](const ModelSpec& spec) { return to_json(spec); })
      .def_static("from_json", &model_spec_from_json, py::arg("json"));
}

// What Model::forward reads, by name; ids may be arrays or lists.
ModelInput to_input(const py::kwargs& given) {
  ModelInput input;
  const std::pair<const char*, Tensor*> ids[] = {{"ids", &input.ids},
                                                 {"lengths", &input.lengths},
                                                 {"char_ids", &input.char_ids},
                                                 {"char_lengths", &input.char_lengths},
                                                 {"char_index", &input.char_index}};
  for (const auto& [key, value] : given) {
    const std::string name = py::cast<std::string>(key);
    const auto* const found =
        std::find_if(std::begin(ids), std::end(ids), [&](const auto& one) { return name == one.first; });
    if (found != std::end(ids))
      *found->second = as_ids("Model", found->first, py::reinterpret_borrow<py::object>(value));
    else if (name == "x")
      input.x = to_tensor(py::reinterpret_borrow<py::object>(value));
    else
      throw_argument("Model", "arguments", "ids, x, lengths, char_ids, char_lengths, char_index", "'" + name + "'");
  }
  return input;
}

void bind_model(py::module_& m) {
  py::class_<Model>(m, "Model", "A model as C++ programs load it: forward, decode and label alone.")
      .def_static(
          "load",
          [](const py::object& path) {
            const std::string name = path_of(path);
            return without_gil([&] { return load_model(name); });
          },
          py::arg("path"))
      .def_property_readonly("spec", &Model::spec)
      .def_property_readonly("labels", &Model::labels)
      .def(
          "forward",
          [](const Model& model, const py::kwargs& given) {
            const ModelInput input = to_input(given);
            return without_gil([&] { return model.forward(input).y; });
          },
          "y, from ids or x, and lengths, char_ids, char_lengths, char_index.")
      .def(
          "decode",
          [](const Model& model, const py::kwargs& given) {
            const ModelInput input = to_input(given);
            return without_gil([&] { return model.decode(input); });
          },
          "Classes (N) or tags (T, N); arguments as forward.")
      .def(
          "label",
          [](const Model& model, const std::vector<std::string>& texts) {
            return without_gil([&] { return label(model, texts); });
          },
          py::arg("texts"), "The labels of each text: one of a classifier, one a word of a tagger.");
}

}  // namespace

NamedTensors named_tensors(const py::dict& tensors) {
  NamedTensors result;
  for (const auto& [name, value] : tensors) {
    const auto object = py::reinterpret_borrow<py::object>(value);
    result.emplace_back(name.cast<std::string>(),
                        py::isinstance<Tensor>(value) ? value.cast<Tensor>().detach() : to_tensor(object));
  }
  return result;
}

void bind_files(py::module_& m) {
  m.def(
      "load_tensors",
      [](const py::object& path) {
        const std::string name = path_of(path);
        const TensorFile file = without_gil([&] { return load_tensors(name); });
        return py::make_tuple(to_dict(file.tensors), file.metadata);
      },
      py::arg("path"), "(tensors by name, metadata) of a safetensors file.");
  m.def(
      "parse_tensors",
      [](const py::bytes& bytes, const std::string& origin) {
        const auto view = static_cast<std::string_view>(bytes);
        const TensorFile file = parse_tensors(view.data(), view.size(), origin);
        return py::make_tuple(to_dict(file.tensors), file.metadata);
      },
      py::arg("bytes"), py::arg("origin") = "buffer");
  m.def(
      "save_tensors",
      [](const py::object& path, const py::dict& tensors, const std::map<std::string, std::string>& metadata) {
        const std::string name = path_of(path);
        const TensorFile file{named_tensors(tensors), metadata};
        without_gil([&] { save_tensors(name, file); });
      },
      py::arg("path"), py::arg("tensors"), py::arg("metadata") = std::map<std::string, std::string>{},
      "Writes a safetensors file atomically. Values: tensors or arrays.");
  m.def(
      "write_file_atomically",
      [](const py::object& path, const py::bytes& bytes) {
        const std::string name = path_of(path);
        const auto view = static_cast<std::string_view>(bytes);
        without_gil([&] { write_file_atomically(name, view.data(), view.size()); });
      },
      py::arg("path"), py::arg("bytes"), "Temporary name, sync, rename: never half a file.");
  bind_model_spec(m);
  bind_model(m);
  m.def(
      "load_model",
      [](const py::object& path) {
        const std::string name = path_of(path);
        const Model model = without_gil([&] { return load_model(name); });
        return py::make_tuple(model.spec(), to_dict(model.named_parameters()), model.vocabulary_json(),
                              model.training_json(), model.assets_json());
      },
      py::arg("path"),
      "(spec, parameters by name, JSON of vocabulary, training and assets); the file is mapped into memory.");
  m.def(
      "save_model",
      [](const py::object& path, const ModelSpec& spec, const py::dict& parameters, const std::string& vocabulary_json,
         const std::string& training_json, const std::string& assets_json) {
        const std::string name = path_of(path);
        const Model model(spec, named_tensors(parameters), vocabulary_json, training_json, assets_json);
        without_gil([&] { save_model(name, model); });
      },
      py::arg("path"), py::arg("spec"), py::arg("parameters"), py::arg("vocabulary_json") = "null",
      py::arg("training_json") = "null", py::arg("assets_json") = "null");
}

}  // namespace rnncore::python
