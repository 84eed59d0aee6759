package lenet;

import com.intel.analytics.bigdl.dllib.optim.SGD;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;
import com.intel.analytics.bigdl.dllib.tensor.TensorNumericMath.TensorNumeric;
import org.apache.spark.TaskContext;
import scala.Function1;
import scala.Tuple2;
import scala.reflect.ClassTag;

/**
 * SGD with Nesterov momentum that goes on from one `optimize` of DistriOptimizer to the next.
 *
 * <p>DistriOptimizer throws an optimiser's state away with every call. This one takes the velocity
 * that it is to start with, of all parameters, of which each executor updates a part; and it leaves
 * the velocity where DistriOptimizer brings the last gradient to the driver: in the gradient of
 * the trained model. With a velocity of zero it computes what BigDL's SGD does with dampening 0.
 *
 * <p>The learning rate is that of Recipe.learning_rate_at in lenet/recipe.py.
 */
public class Momentum extends SGD {
    private final double firstRate;
    private final double decay;
    private final double momentum;
    private final int iterations;
    private final int parts;
    private int done;
    private final float[] before;
    private transient float[] velocity;

    /**
     * @param firstRate learning rate of iteration 1
     * @param decay of the learning rate, an iteration, where it does not fall linearly
     * @param momentum share of the velocity that is kept, 0 to 1
     * @param iterations until the learning rate, falling linearly, is zero; 0: by decay
     * @param parts executors
     * @param done iterations before the first with this optimiser
     * @param before the velocity to start with, as long as the parameters, or empty for zero
     * @param tag of floats
     * @param floats BigDL's arithmetic of floats
     */
    public Momentum(double firstRate, double decay, double momentum, int iterations, int parts,
            int done, float[] before, ClassTag tag, TensorNumeric floats) {
        super(firstRate, decay, 0.0, momentum, 0.0, true, new SGD.Default(), null, null, tag, floats);
        this.firstRate = firstRate;
        this.decay = decay;
        this.momentum = momentum;
        this.iterations = iterations;
        this.parts = parts;
        this.done = done;
        this.before = before;
    }

    /** Of the driver's current iteration; executors count their updates themselves. */
    @Override
    public double getLearningRate() {
        return rate((Integer) state().apply("neval") - 1);
    }

    private double rate(int done) {
        if (iterations > 0) {
            return firstRate * (iterations - done) / iterations;
        }
        return firstRate / (1 + done * decay);
    }

    @Override
    public void updateHyperParameter() {
    }

    @Override
    public String getHyperParameter() {
        return "Current learning rate is " + getLearningRate() + ". ";
    }

    @Override
    public Tuple2 optimize(Function1 evaluate, Tensor parameters) {
        Tuple2 evaluated = (Tuple2) evaluate.apply(parameters);
        Floats weights = new Floats(parameters);
        Floats gradient = new Floats((Tensor) evaluated._2());
        if (velocity == null) {
            velocity = start(weights.length);
        }
        float rate = (float) rate(done);
        done++;
        float kept = (float) momentum;
        float[] w = weights.array;
        float[] g = gradient.array;
        for (int i = 0; i < velocity.length; i++) {
            float slope = g[gradient.offset + i];
            float speed = kept * velocity[i] + slope;
            velocity[i] = speed;
            w[weights.offset + i] -= rate * (slope + kept * speed);
            g[gradient.offset + i] = speed;
        }
        return new Tuple2(parameters, new float[] {(Float) evaluated._1()});
    }

    private float[] start(int length) {
        float[] part = new float[length];
        if (before.length > 0) {
            // As AllReduceParameter shares the parameters out: the first parts have one more.
            int number = TaskContext.getPartitionId();
            int first = before.length / parts * number + Math.min(number, before.length % parts);
            System.arraycopy(before, first, part, 0, length);
        }
        return part;
    }
}
