// network.cpp - reads the data, learns nothing yet, predicts class 0 for every input.
// Your work: Network::train and Network::predict.
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

struct Table {
    std::vector<std::uint8_t> values;  // rows x columns
    std::size_t rows = 0, columns = 0;
    const std::uint8_t *row(std::size_t i) const { return values.data() + i * columns; }
};

// A CSV of integers 0 to 255; every line has as many as the first.
static Table read_csv(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw std::runtime_error(path + " cannot be read");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    Table table;
    unsigned value = 0;
    bool digits = false;
    text += '\n';
    for (char c : text) {
        if (c >= '0' && c <= '9') {
            value = 10 * value + unsigned(c - '0');
            digits = true;
        } else if (digits) {
            table.values.push_back(std::uint8_t(value));
            value = 0;
            digits = false;
            if (c == '\n' && ++table.rows == 1)
                table.columns = table.values.size();
        }
    }
    return table;
}

struct Network {
    void train(const Table &, const Table &) {}
    int predict(const std::uint8_t *, std::size_t) const { return 0; }
};

static void write_predictions(const std::string &path, const Network &network, const Table &x)
{
    std::ofstream file(path);
    for (std::size_t i = 0; i < x.rows; i++)
        file << network.predict(x.row(i), x.columns) << '\n';
    if (!file.flush())
        throw std::runtime_error(path + " cannot be written");
}

int main()
{
    try {
        Table x = read_csv("data/@PREFIX@_train_vectors.csv"), labels = read_csv("data/@PREFIX@_train_labels.csv");
        Table test = read_csv("data/@PREFIX@_test_vectors.csv");
        std::cout << x.rows << " training inputs of " << x.columns << " values, " << test.rows << " test inputs\n";
        Network network;
        network.train(x, labels);
        write_predictions("@TRAIN@", network, x);
        write_predictions("@TEST@", network, test);
    } catch (const std::exception &e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
