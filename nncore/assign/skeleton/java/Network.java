// Network.java - reads the data, learns nothing yet, predicts class 0 for every input.
// Your work: train and predict.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

public final class Network {
    /** A CSV of integers 0 to 255, a row a line. */
    static List<byte[]> readCsv(String path) throws IOException {
        List<byte[]> rows = new ArrayList<>();
        try (BufferedReader reader = Files.newBufferedReader(Path.of(path))) {
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                String[] fields = line.split(",");
                byte[] row = new byte[fields.length];
                for (int i = 0; i < fields.length; i++)
                    row[i] = (byte) Integer.parseInt(fields[i].trim());
                rows.add(row);
            }
        }
        return rows;
    }

    void train(List<byte[]> x, List<byte[]> labels) {
    }

    int predict(byte[] x) {
        return 0;
    }

    void writePredictions(String path, List<byte[]> x) throws IOException {
        try (PrintWriter writer = new PrintWriter(Files.newBufferedWriter(Path.of(path)))) {
            for (byte[] row : x)
                writer.print(predict(row) + "\n");
        }
    }

    public static void main(String[] arguments) throws IOException {
        List<byte[]> x = readCsv("data/@PREFIX@_train_vectors.csv"), labels = readCsv("data/@PREFIX@_train_labels.csv");
        List<byte[]> test = readCsv("data/@PREFIX@_test_vectors.csv");
        System.out.println(x.size() + " training inputs, " + test.size() + " test inputs");
        Network network = new Network();
        network.train(x, labels);
        network.writePredictions("@TRAIN@", x);
        network.writePredictions("@TEST@", test);
    }
}
