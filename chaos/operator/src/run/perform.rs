//! Activities, one after the other, and those in the background beside them.

use super::{Abort, Done, Runner, Tell};
use crate::{
    format::{Activity, Provider},
    probe::{find, is_tolerated},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::{
    task::{JoinError, JoinSet},
    time::sleep,
};

/// What was performed, in the order in which it began. Clones are the same record.
#[derive(Clone, Default)]
pub(super) struct Performed(Arc<Mutex<Vec<Done>>>);

impl Performed {
    fn all(&self) -> MutexGuard<'_, Vec<Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An activity begins. As long as its end is not noted, it is one that was cut off.
    fn begin(&self, activity: &Activity) -> usize {
        let mut all = self.all();
        all.push(Done::begun(activity));
        all.len() - 1
    }

    fn end(&self, index: usize, done: Done) {
        // The record may have been taken: then the run is over, and nobody asks.
        if let Some(begun) = self.all().get_mut(index) {
            *begun = done;
        }
    }

    /// All of it; the record is empty then.
    pub(super) fn take(&self) -> Vec<Done> {
        std::mem::take(&mut *self.all())
    }
}

/// Activities in the background; they end when it is dropped.
type Background = JoinSet<Result<String, Abort>>;

impl Runner {
    /// All activities in turn; those in the background are waited for at the end. Ends with the first one that aborts the
    /// run.
    pub(super) async fn perform_all(
        &self,
        activities: &[Activity],
        performed: &Performed,
        tell: &mut dyn Tell,
    ) -> Result<(), Abort> {
        let mut background = Background::new();
        for activity in activities {
            self.start(activity, performed, &mut background, tell).await?;
        }
        while let Some(one) = background.join_next().await {
            tell.told(&joined(one)?);
        }
        Ok(())
    }

    /// The same for what has to be done whatever happens: one that fails is noted, and keeps none of the others from
    /// being performed.
    pub(super) async fn perform_each(&self, activities: &[Activity], performed: &Performed, tell: &mut dyn Tell) {
        let mut background = Background::new();
        for activity in activities {
            if let Err(why) = self.start(activity, performed, &mut background, tell).await {
                tell.told(&why.0);
            }
        }
        while let Some(one) = background.join_next().await {
            tell.told(&joined(one).unwrap_or_else(|why| why.0));
        }
    }

    /// Performs one with its pauses, or lets it go on in the background.
    async fn start(
        &self,
        activity: &Activity,
        performed: &Performed,
        background: &mut Background,
        tell: &mut dyn Tell,
    ) -> Result<(), Abort> {
        tell.doing(&activity.name);
        if activity.background {
            let (runner, activity, performed) = (self.clone(), activity.clone(), performed.clone());
            background.spawn(async move {
                let Ok(_turn) = runner.background.acquire().await else {
                    return Err(Abort("the run is over".into()));
                };
                let line = runner.perform(&activity, &performed).await?;
                sleep(activity.after).await;
                Ok(line)
            });
            return Ok(());
        }
        tell.told(&self.perform(activity, performed).await?);
        sleep(activity.after).await;
        Ok(())
    }

    /// One activity after the pause before it: a line of what came of it.
    async fn perform(&self, activity: &Activity, performed: &Performed) -> Result<String, Abort> {
        sleep(activity.before).await;
        let index = performed.begin(activity);
        let (done, abort) = self.act(activity).await;
        let line = done.line(self.scene.now());
        performed.end(index, done);
        abort.map_or(Ok(line), Err)
    }

    /// What came of it, and whether that ends the run.
    async fn act(&self, activity: &Activity) -> (Done, Option<Abort>) {
        let began = self.scene.now();
        let mut done = Done::begun(activity);
        let mut abort = None;
        match &activity.provider {
            Provider::Strike(strike) => match self.strike(activity, strike).await {
                Ok(output) => done.output = output,
                Err(why) => {
                    done.error = Some(why.0.clone());
                    abort = Some(why);
                }
            },
            Provider::Http(_) | Provider::Process(_) | Provider::Look(_) => match find(activity, &self.fabric).await {
                Ok(output) => {
                    if let Some(tolerance) = &activity.tolerance {
                        done.tolerated = Some(is_tolerated(tolerance, &output, &self.fabric).await);
                    }
                    done.output = self.secrets.mask_json(output);
                }
                Err(why) => {
                    done.tolerated = activity.tolerance.as_ref().map(|_| false);
                    done.error = Some(self.secrets.mask(&why));
                }
            },
        }
        done.duration = self.scene.now() - began;
        done.ended = true;
        (done, abort)
    }
}

fn joined(one: Result<Result<String, Abort>, JoinError>) -> Result<String, Abort> {
    one.map_err(|e| Abort(format!("an activity in the background broke off: {e}")))?
}
